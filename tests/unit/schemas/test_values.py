"""The values that wire formats are made of: hashes, JSON text, money, keys of switches and bundles, results as read."""

import hashlib
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pydantic import ValidationError

from schemas.base import json_text, money, sha256_hex
from schemas.control import Bundle, Control, ControlKind, SwitchKind
from schemas.job import Chunk, Snapshot
from schemas.result import Result, ResultUsage, Timings
from schemas.side import DeadLetter
from schemas.stages import Status

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_a_snapshot_s_hash_can_be_made_in_any_language():
    """It is that of the canonical JSON of [[id, text, uri, source], …]: here spelt out, in UTF-8, without blanks."""
    chunks = (
        Chunk(id="c1", text="Überweisung: 5 €", source="faq", score=0.5, indexed_at=NOW),
        Chunk(id="c2", uri="s3://kb/2"),
    )
    snapshot = Snapshot(id="kb", version="7", taken_at=NOW, sha256="0" * 64, chunks=chunks)
    spelt = '[["c1","Überweisung: 5 €",null,"faq"],["c2",null,"s3://kb/2",""]]'
    assert snapshot.content_sha256() == hashlib.sha256(spelt.encode()).hexdigest()
    assert snapshot.content_sha256() == "9198a7bf97ec41fda93cb2d1bbbe423c9b1ce8287d5f52e2e83fdb664171742c"


def test_a_snapshot_s_hash_leaves_out_times_and_scores():
    """Languages print those differently, and they are not what the answer rests on."""
    bare = Snapshot(id="a", version="1", taken_at=NOW, sha256="0" * 64, chunks=(Chunk(id="c", text="t"),))
    rich = Snapshot(
        id="b",
        version="2",
        taken_at=NOW,
        sha256="0" * 64,
        chunks=(Chunk(id="c", text="t", score=1.0, index_version="9", source_updated_at=NOW),),
    )
    assert bare.content_sha256() == rich.content_sha256()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {"a": {1, 2}}, {("a",): 1}, b"x"])
def test_what_is_no_json_value_has_no_text(value):
    """NaN, infinities, lone surrogates and Python's own types are refused, not written somehow."""
    with pytest.raises(ValueError, match=r"not a JSON value|Out of range"):
        json_text(value)


def test_canonical_text_is_sorted_and_bare():
    """Sorted keys, no blanks, no needless escapes."""
    assert json_text({"b": [1.5, None, True], "a": "é\n"}) == '{"a":"é\\n","b":[1.5,null,true]}'


def test_money_has_nine_places_and_rounds_to_even():
    """A token of the cheapest model is not lost, and halves don't drift upwards."""
    assert [format(money(Decimal(text)), "f") for text in ("0.00000001", "1.0000000005", "1.0000000015")] == [
        "0.000000010",
        "1.000000000",
        "1.000000002",
    ]


def test_records_are_frozen_and_closed():
    """A record is not changed in place, and an unknown field is an error."""
    chunk = Chunk(id="c")
    with pytest.raises(ValidationError, match="frozen"):
        chunk.id = "d"
    with pytest.raises(ValidationError, match="Extra inputs"):
        Chunk(id="c", colour="red")


def test_a_bundle_is_named_by_what_is_in_it():
    """Same files, same version, whatever their order or commit; another file, another version."""
    one = Bundle(workflow="w", files={"a": "1", "b": "2"}, commit="x")
    assert one.version == Bundle(workflow="w", files={"b": "2", "a": "1"}).version
    assert one.version != Bundle(workflow="w", files={"a": "1", "b": "3"}).version
    assert one.key == f"w@{one.version}"


def test_a_switch_and_its_opposite_have_one_key():
    """The newest record of a key is the state of that switch, so throwing and undoing share it."""

    def key(kind, target=SwitchKind.MODEL):
        return Control(kind=kind, target=target, name="m", who="w", why="y", at=NOW).key

    assert key(ControlKind.KILL) == key(ControlKind.UNKILL) == "kill/model/m"
    assert key(ControlKind.KILL, SwitchKind.TENANT) == "kill/tenant/m"
    assert key(ControlKind.ACTIVATE) == "active/m"


def test_a_result_reads_as_people_write_json():
    """The output is a value, not text in text; money is a decimal string, or null where it is unknown."""
    result = Result(
        job_id="j",
        tenant="t",
        status=Status.ACCEPTED,
        output=json_text({"intent": "x"}),
        workflow="w",
        workflow_version="v",
        rung=0,
        usage=ResultUsage(),
        cost_usd=Decimal("0.00000001"),
        timings=Timings(total_ms=5),
        decision_path=json_text([{"stage": "intake", "rung": 0}]),
        attempts=1,
        trace_id="0" * 32,
    )
    read = json.loads(result.to_json())
    assert (read["output"], read["cost_usd"]) == ({"intent": "x"}, "0.00000001")
    assert read["decision_path"] == [{"stage": "intake", "rung": 0}]
    assert json.loads(result.model_copy(update={"cost_usd": None, "output": None}).to_json())["cost_usd"] is None
    assert Result.read_json(result.to_json()) == read


def test_a_dead_letter_s_message_is_cut_to_what_a_header_may_hold():
    """A long or odd message is no reason for another failure."""
    letter = DeadLetter(
        topic="jobs",
        partition=1,
        offset=2,
        group="g",
        delivery_count=1,
        message="\ud800" + "ü" * 10_000,
        stage="intake",
        error_class="Unreadable",
        retryable=False,
        attempts=0,
    )
    headers = dict(letter.headers())
    assert len(headers["__dlq.errors.message"]) == 8192
    assert (headers["__dlq.errors.offset"], headers["penstock-retryable"]) == (b"2", b"false")


@pytest.mark.parametrize("size", [0, 1, 2047, 2048, 2049, 4094, 10_000, 65_535, 65_536, 200_001])
def test_a_hash_is_the_same_in_pieces(size):
    """However long a text is, and wherever its pieces end, its hash is SHA-256's."""
    text = ("aß" * size)[:size]
    assert sha256_hex(text) == sha256_hex(text.encode()) == hashlib.sha256(text.encode()).hexdigest()

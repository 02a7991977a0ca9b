"""Nothing is written that a broker would refuse for ever: what is too large is cut, and says so."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.outcome import Reject, Retry
from schemas.avro import decode_rows
from schemas.base import JsonText
from schemas.dead_letter_events import DeadLetterEvent
from schemas.envelope import Envelope, Head, Header, Origin
from schemas.job import Job
from schemas.stages import Admitted, Status
from schemas.trace import PayloadEvent, StageEvent
from streams.assignment import Assignment
from streams.batch import trace_records
from streams.dispatch import dead_letter, dispatch, failed
from streams.errors import RecordTooLarge
from streams.header_names import CUT
from streams.pipeline import STAGES, Processors, pipeline
from streams.records import Address, Delivery, Raw
from streams.sizes import failed_that_fits, letter_that_fits, size_of, taken
from streams.stage import Moment
from streams.topics import DEAD_LETTERS, MAX_BYTES, TRACES
from streams.trace_arrays import CUT_MARK, arrays

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
MOMENT = Moment(NOW, 0.0, 0.0, "w", 0, 0)
MAP = {stage.name: stage for stage in pipeline(Processors(*[None] * 5), dict.fromkeys(STAGES, 8))}
MIB = 1024 * 1024


def delivery(key=b"k", value=b"v", headers=(), topic="jobs"):
    return Delivery(Address(topic, 2, 40), 1000, Raw(key, value, headers), Assignment(topic, 2))


def head(**more):
    fields = {
        "tenant": "acme",
        "job_id": "j1",
        "workflow": "w",
        "created_at": NOW,
        "deadline": NOW.replace(year=2027),
        "trace": "00-" + "a" * 32 + "-" + "b" * 16 + "-01",
        "origin": Origin(topic="jobs", partition=1, offset=5, key=b"mine"),
    }
    return Head(**fields | more)


# --- dead letters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("large", "left_out"),
    [
        ({"headers": (("mine", bytes(20 * MIB)),)}, b"headers"),
        ({"key": bytes(20 * MIB)}, b"headers"),
        ({"value": bytes(20 * MIB)}, b"value"),
        ({"value": bytes(9 * MIB), "headers": (("a", bytes(9 * MIB)),)}, b"headers"),
    ],
    ids=["headers", "key", "value", "both"],
)
def test_a_dead_letter_fits_whatever_was_given_up_on(large, left_out):
    """A compressed batch may hold more than any topic takes uncompressed: what is left out is named, and why is not."""
    (letter,) = dead_letter("intake", "g", delivery(**large), ValueError("x" * 9000), MOMENT).records
    fitting = letter_that_fits(letter)
    headers = dict(fitting.headers)
    assert size_of(fitting) <= MAX_BYTES[DEAD_LETTERS.name] < size_of(letter)
    assert left_out in headers[CUT]
    assert (headers["__dlq.errors.topic"], headers["penstock-stage"]) == (b"jobs", b"intake")


def test_a_dead_letter_that_fits_is_left_alone():
    """The largest record of any topic fits with the headers that say why."""
    (letter,) = dead_letter(
        "intake", "g", delivery(value=bytes(12 * MIB - 200)), ValueError("x" * 9000), MOMENT
    ).records
    assert letter_that_fits(letter) is letter


# --- ends of jobs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "large",
    [
        {"origin": Origin(topic="jobs", partition=0, offset=1, key=bytes(13 * MIB))},
        {"origin": Origin(topic="jobs", partition=0, offset=1, headers=(Header(name="a", value=bytes(13 * MIB)),))},
        {"path": JsonText('[{"stage":"intake","ms":1.0,"reason":"%s"}]' % ("x" * 13 * MIB))},
        {"segments": {"a": "x" * 13 * MIB}},
    ],
    ids=["key", "headers", "path", "segments"],
)
def test_a_job_that_no_record_can_hold_still_fails_with_a_result(large):
    """What a producer made large is left out of the result; whose job it is and why it failed are not."""
    envelope = Envelope(head=head(**large), payload=Admitted(job=Job(workflow="w", input=JsonText("1"))))

    def fail(known):
        return failed(MAP["validation"], "g", delivery(topic="answered"), known, ValueError("bug"), MOMENT)

    _, result, close = failed_that_fits(fail, envelope).records
    assert size_of(result) <= MAX_BYTES["results"]
    assert (result.key, close.topic) == (b"j1", "spend")
    assert b'"status":"failed"' in result.value
    assert b"ValueError in validation" in result.value


def test_a_wait_must_fit_where_it_returns_to():
    """The tiers take more than producers' topics do: a record that could not go back is refused before it waits."""
    envelope = Envelope(head=head(), payload=Admitted(job=Job(workflow="w", input=JsonText("1"))))
    heavy = delivery(headers=(("mine", bytes(9 * MIB)),))
    with pytest.raises(RecordTooLarge, match=r"for retries\.10s, which takes 8388608"):
        taken(dispatch(MAP["intake"], heavy, envelope, Retry("later", 5), MOMENT))
    ended = dispatch(replace(MAP["validation"]), heavy, envelope, Reject(Status.REJECTED, "x"), MOMENT)
    assert taken(ended) is ended


# --- trace rows -------------------------------------------------------------------------------------------------------


def stage_row(n, **more):
    common = dict.fromkeys(("tenant", "workflow", "workflow_version", "job_id", "trace_id", "stage", "arm"), "x")
    fields = {
        "time": NOW,
        "rung": 0,
        "round": 0,
        "control_version": 0,
        "segments": {},
        "event_id": f"e{n}",
        "outcome": "pass",
        "reason": "",
        "queue_ms": 0.0,
        "duration_ms": 0.0,
        "worker": "w",
        "messaging_destination_name": "jobs",
        "messaging_kafka_partition": 0,
        "messaging_kafka_offset": n,
    }
    return StageEvent(**common | fields | more)


LIMIT = 300_000
SIZES = st.lists(st.sampled_from([0, 10, 5_000, 100_000, 290_000, 1_000_000]), min_size=1, max_size=12)


@given(SIZES, st.sampled_from(["reason", "segments", "job_id"]))
def test_every_array_of_rows_fits_and_no_row_is_lost(sizes, column):
    """However large columns are, arrays stay within the limit and hold every row once, in order."""
    large = {"segments": lambda n: {"a": "é" * (n // 4), "b": "x" * (n // 2)}}.get(column, lambda n: "é" * (n // 2))
    rows = [stage_row(n, **{column: large(size)}) for n, size in enumerate(sizes)]
    made = list(arrays("StageEvent", rows, LIMIT))
    found = [row for array in made for row in decode_rows("StageEvent", array)]
    assert all(len(array) <= LIMIT for array in made)
    assert [row["event_id"] for row in found] == [row.event_id for row in rows]
    whole = {row.event_id for row, size in zip(rows, sizes, strict=True) if size < 60_000}
    assert all(row == rows[n].model_dump() for n, row in enumerate(found) if row["event_id"] in whole)


def test_a_row_that_is_cut_says_so():
    """The beginning of a long column is kept, with a mark, and other columns are as they were."""
    (array,) = arrays("StageEvent", [stage_row(1, reason="é" * 7_000_000)])
    (row,) = decode_rows("StageEvent", array)
    assert row["reason"].endswith(CUT_MARK)
    assert len(row["reason"].encode()) <= 64 * 1024
    assert row["event_id"] == "e1"


def test_many_rows_with_large_columns_are_no_record_that_a_broker_refuses():
    """Five hundred rows of a producer that names a megabyte of segments go into records that fit."""
    rows = [stage_row(n, segments={"a": "x" * 1_000_000}) for n in range(40)]
    made = trace_records(rows)
    assert all(size_of(record) <= TRACES.settings.max_bytes for record in made)
    assert sum(len(decode_rows("StageEvent", record.value)) for record in made) == 40


def test_half_a_character_holds_up_nothing():
    """A lone surrogate is no text on any wire: it is replaced, and the rest of the row stands."""
    (array,) = arrays("StageEvent", [stage_row(1, reason="a\ud800b", segments={"k\udfff": "v"})])
    (row,) = decode_rows("StageEvent", array)
    assert (row["reason"], row["segments"]) == ("a?b", {"k?": "v"})


def test_the_longest_text_fits_whole():
    """A text is cut where it is made a row, at what a record holds; not again here."""
    row = PayloadEvent(sha256="0" * 64, kind="output", time=NOW, text="x" * 8 * MIB)
    (array,) = arrays("PayloadEvent", [row])
    assert decode_rows("PayloadEvent", array)[0]["text"] == row.text


def test_the_row_of_a_dead_letter_fits():
    """Its message is bounded where it is made."""
    emission = dead_letter("intake", "g", delivery(), ValueError("é" * 9_000_000), MOMENT)
    (event,) = emission.events
    assert isinstance(event, DeadLetterEvent)
    assert len(event.message) == 2000

"""The sink on real Kafka and the real warehouse: what goes wrong there, and that nothing is lost by it."""

import io
from decimal import Decimal

import fastavro
import pytest

from schemas.avro import encode_rows, newest_json, rows_fingerprint
from schemas.trace import JobEvent, TraceEvent
from sinks.batch import Limits
from sinks.errors import WarehouseAway
from sinks.memory import MemorySink
from streams.batch import SCHEMA, TABLE
from streams.kafka import sink_runner
from streams.kafka.sink_notes import Note

pytestmark = pytest.mark.stack


def plain(schema):
    """The schema without logical types: the same bytes, so that a test can write what no model allows."""
    if isinstance(schema, dict):
        return {name: plain(value) for name, value in schema.items() if name != "logicalType"}
    return [plain(one) for one in schema] if isinstance(schema, list) else schema


def decoded(name, array):
    items = plain(newest_json(name))
    return fastavro.schemaless_reader(io.BytesIO(array), fastavro.parse_schema({"type": "array", "items": items}), None)


@pytest.fixture
def ends(rows):
    """Give a maker of rows of `jobs`, as numbers and bytes."""

    def make(count):
        more = {
            "status": "accepted",
            "terminal": True,
            "reason": "",
            "confidence": None,
            "variant": None,
            "tier": None,
            "gen_ai_response_model": None,
            "input_sha256": "",
            "output_sha256": None,
            "attempts": 1,
            "input_tokens": 1,
            "output_tokens": 1,
            "cost_usd": None,
            "priced_cost_usd": Decimal("0.5"),
            "unpriced_attempts": 1,
            "total_ms": 1.0,
            "snapshot_id": None,
            "snapshot_version": None,
            "source_topic": "jobs",
            "source_partition": 0,
            "source_offset": 0,
        }
        common = [{name: getattr(row, name) for name in TraceEvent.model_fields} for row in rows(count)]
        made = [JobEvent(**row, **more, created_at=row["time"], deadline=row["time"]) for row in common]
        return decoded("JobEvent", encode_rows("JobEvent", made))

    return make


def array(name, rows):
    out = io.BytesIO()
    items = plain(newest_json(name))
    fastavro.schemaless_writer(out, fastavro.parse_schema({"type": "array", "items": items}), rows)
    return out.getvalue()


def headers(table, fingerprint):
    return ((TABLE, table.encode()), (SCHEMA, fingerprint.encode()))


def test_it_catches_up_after_an_outage_and_says_why_it_waits(line, stack, rows, eventually):
    """While the warehouse is away the group's commit names the reason; afterwards every row is there, and no reason."""
    line.start()
    line.write(*rows(50, "before"))
    eventually(lambda: line.stored() == 50)
    with stack.paused("warehouse"):
        line.write(*rows(2_000, "meanwhile"))
        (pause,) = eventually(line.pauses)
        assert "the warehouse is away" in pause.why
    eventually(lambda: line.stored() == 2_050)
    eventually(lambda: not line.pauses())
    eventually(lambda: line.noted() == line.committed() == line.ends())
    assert line.gaps() == ()


def test_a_warehouse_that_must_be_repaired_pauses_the_sink(line, rows, eventually):
    """What only a person can mend loses nothing and blames no row: it is told, and the rows go in afterwards."""
    line.start()
    line.write(*rows(50, "before"))
    eventually(lambda: line.stored() == 50)
    line.warehouse.command("RENAME TABLE stage_events TO mislaid")
    line.write(*rows(500, "meanwhile"))
    (pause,) = eventually(line.pauses)
    assert "until this is repaired (code 60)" in pause.why
    line.warehouse.command("RENAME TABLE mislaid TO stage_events")
    eventually(lambda: line.stored() == 550)
    eventually(lambda: not line.pauses())
    assert line.stored("dead_letters") == 0


def test_a_bad_row_takes_no_good_one_with_it(line, ends, eventually):
    """Of an array of 500 rows the 499 good ones are stored, and the dead letter holds the bad one, byte for byte."""
    line.start()
    good = ends(500)
    good[123] = good[123] | {"priced_cost_usd": bytes(9)}  # more than the table's decimal holds
    line.append((array("JobEvent", good), headers("jobs", rows_fingerprint("JobEvent"))))
    (letter,) = line.dead_letters(1)
    eventually(lambda: line.stored("jobs") == 499)
    told = dict(letter.raw.headers)
    assert letter.raw.value == array("JobEvent", [good[123]])
    assert told[TABLE] == b"jobs"
    eventually(lambda: line.stored("dead_letters") == 1)
    assert "row 124 of 500" in line.warehouse.query("SELECT message FROM dead_letters").rows[0][0]


def test_what_is_no_row_of_ours_is_a_dead_letter(line, rows, eventually):
    """Strangers' records are set aside, and those behind them go in."""
    line.start()
    fingerprint = rows_fingerprint("StageEvent")
    broken = [
        (b"hello", ()),
        (b"hello", headers("stage_events", fingerprint)),
        (b"\x02\x00", headers("no_table", fingerprint)),
        (None, headers("stage_events", fingerprint)),
    ]
    line.append(*broken, partition=0)
    line.write(*rows(10), partition=0)
    assert [letter.raw.value for letter in line.dead_letters(4)].count(b"hello") == 2
    eventually(lambda: line.stored() == 10)
    eventually(lambda: line.stored("dead_letters") == 4)


def test_rows_of_a_newer_schema_wait_in_the_log(line, rows, eventually):
    """Their partition stops before them, with the reason told; others go on, and nothing is lost or dead-lettered."""
    line.start()
    line.write(*rows(10, "before"), partition=0)
    line.append((encode_rows("StageEvent", rows(1, "newer")), headers("stage_events", "ab" * 8)), partition=0)
    line.write(*rows(10, "behind"), partition=0)
    line.write(*rows(10, "beside"), partition=1)
    eventually(lambda: line.stored() == 20)
    (pause,) = eventually(line.pauses)
    assert pause.partitions == (0,)
    assert "upgrade this sink" in pause.why
    line.stop()
    assert line.committed()[0] == line.noted()[0] == 1
    assert line.stored() == 20
    assert line.stored("dead_letters") == 0


def test_records_that_were_gone_are_on_record(line, rows, eventually):
    """What retention dropped before it was stored is one row of sink_gaps; what is left is stored."""
    line.start()
    line.write(*rows(10, "before"), partition=0)
    eventually(lambda: line.committed().get(0) == 1)
    line.stop()
    for number in range(5):
        line.write(*rows(1, f"gone-{number}"), partition=0)
    line.trim(0, 4)
    line.start()
    eventually(lambda: line.stored() == 12)
    assert [tuple(gap) for gap in line.gaps()] == [(line.topic, 0, 1, 4)]


def test_an_idle_log_that_was_trimmed_has_no_gap(line, rows, eventually):
    """The mark of a transaction behind the last record is no record: its going is no loss."""
    line.start()
    line.write_in_transaction(*rows(10), partition=0)
    eventually(lambda: line.noted().get(0) == line.committed().get(0) == 2)
    line.stop()
    line.trim(0, 2)
    line.start()
    line.write(*rows(10, "later"), partition=0)
    eventually(lambda: line.stored() == 20)
    assert line.gaps() == ()


@pytest.mark.parametrize("running", [True, False])
def test_a_topic_made_anew_is_read_from_its_start(line, rows, eventually, running):
    """Positions of a deleted topic skip nothing of one that has its name and more records."""
    line.start()
    for number in range(5):
        line.write(*rows(1, f"old-{number}"), partition=0)
    eventually(lambda: line.committed().get(0) == 5)
    if not running:
        line.stop()
    line.recreate(eventually)
    for number in range(9):
        line.write(*rows(1, f"new-{number}"), partition=0)
    if not running:
        line.start()
    eventually(lambda: line.stored() == 14, 60)
    assert line.gaps() == ()


def test_stale_progress_only_means_reading_again(line, rows, eventually):
    """A zombie's late note makes the next owner begin lower; no row doubles for analysts, and no gap appears."""
    line.start()
    for number in range(5):
        line.write(*rows(10, f"job-{number}"), partition=0)
    eventually(lambda: line.committed().get(0) == 5)
    line.stop()
    line.warehouse.insert_json("sink_progress", [{"topic": line.topic, "partition": 0, "next_offset": 1}])
    line.start()
    eventually(lambda: line.noted().get(0) == 5)
    assert line.stored() == 50
    trace = line.warehouse.query("SELECT count(), uniqExact(event_id) FROM v_trace").rows[0]
    assert trace == (50, 50)
    assert line.gaps() == ()


class Flaky(MemorySink):
    """Away every so often, in the midst of whatever the sink does."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def ping(self):
        self.calls += 1
        if self.calls % 7 == 0:
            raise WarehouseAway("now and then")
        super().ping()


def test_outages_at_any_step_lose_nothing(line, rows, eventually, monkeypatch):
    """Whichever call of a flush meets the outage, every row is stored and the progress ends at the log's end."""
    monkeypatch.setattr(sink_runner, "RETRY_S", (0.01,))
    monkeypatch.setattr(sink_runner, "RECORDS", 20)
    for start in range(0, 400, 20):
        line.write(*rows(400)[start : start + 20])
    sink = Flaky()
    line.start(sink, limits=Limits(1, 1, 0.0))
    for number in range(20):
        line.write(*rows(10, f"later-{number}"))
    eventually(lambda: len(sink.rows("stage_events")) == 600)
    eventually(lambda: line.committed() == line.ends())
    assert sink.calls > 14


def test_notes_survive_a_round_trip():
    """What a commit says can be read back, and others' metadata is nobody's note."""
    note = Note("topic").because("away:\n  no route " + "x" * 9_000)
    assert Note.decode(note.encode()) == note
    assert len(note.encode()) < 4_096
    assert note.because("another").since == note.since
    assert note.because("") == Note("topic")
    assert Note.decode("2:abc") is Note.decode(None) is None

"""What every sink must do, run on the in-memory one and on ClickHouse."""

import json
from dataclasses import dataclass

import pytest

from schemas.avro import newest_json
from sinks.avro_body import container
from sinks.errors import RowsRefused, WarehouseAway
from sinks.memory import MemorySink
from sinks.progress import Gap, Position, Source, gaps

pytestmark = pytest.mark.stack


@dataclass
class InMemory:
    sink: MemorySink

    def rows(self, table):
        return self.sink.rows(table)

    def gaps(self):
        return tuple(sorted(self.sink.gaps))


@dataclass
class InClickHouse:
    sink: object

    def rows(self, table):
        return self.sink.query(f"SELECT * FROM {table} FINAL").dicts()

    def gaps(self):
        return gaps(self.sink)


@pytest.fixture(params=["memory", "clickhouse"])
def case(request):
    """A fresh sink and a way to look into it."""
    if request.param == "memory":
        return InMemory(MemorySink())
    return InClickHouse(request.getfixturevalue("clickhouse"))


def test_rows_are_there_when_insert_returns(case, make):
    """An insert that returned has stored every row of its body, of every table."""
    rows = make.Story().one_of_each()
    make.store(case.sink, rows)
    for row in rows:
        (stored,) = case.rows(row.TABLE)
        assert {name: stored[name] for name in ("time", *list(type(row).model_fields)[:2])} == {
            name: getattr(row, name) for name in ("time", *list(type(row).model_fields)[:2])
        }


def test_a_repeat_is_the_same_row(case, make):
    """Inserting a body again, or rows of it in another body, doubles nothing."""
    story = make.Story()
    steps = [story.stage(stage, ms=number) for number, stage in enumerate(["intake", "routing", "inference"])]
    make.store(case.sink, steps)
    make.store(case.sink, steps)
    make.store(case.sink, [steps[1], story.stage("validation")])
    assert sorted(row["stage"] for row in case.rows("stage_events")) == ["inference", "intake", "routing", "validation"]


def test_equal_texts_are_one_row(case, make):
    """The same text, seen again later, stays one row."""
    first, later = make.Story(), make.Story(start=make.NOW.replace(minute=30))
    make.store(case.sink, first.payloads())
    make.store(case.sink, later.payloads())
    assert sorted(row["text"] for row in case.rows("payloads")) == sorted(row.text for row in first.payloads())


def broken_bodies(body):
    return {
        "cut off": body[:-20],
        "no container": b"hello",
        "empty": b"",
        "size that lies": body[:-18] + b"\xff\xff\xff" + body[-15:],
    }


@pytest.mark.parametrize("how", broken_bodies(bytes(40)))
def test_a_broken_body_is_refused_whole(case, make, how):
    """The rows before the damage are not stored, and the next body goes in as if nothing had been."""
    rows = [make.Story().stage("intake"), make.Story("job-2").stage("intake")]
    body = make.body_of(rows)
    with pytest.raises(RowsRefused):
        case.sink.insert("stage_events", (broken_bodies(b"".join(body))[how],), 2)
    assert case.rows("stage_events") == []
    case.sink.insert("stage_events", body, 2)
    assert len(case.rows("stage_events")) == 2


def test_a_body_with_fewer_rows_than_it_should_have_is_refused(case, make):
    """A row that the framing swallowed does not go unnoticed."""
    with pytest.raises(RowsRefused, match="where the body says 3"):
        case.sink.insert("stage_events", make.body_of([make.Story().stage("intake")]), 3)


def test_an_unknown_table_is_refused(case, make):
    """Rows for a table that this version does not know are not stored anywhere."""
    with pytest.raises(RowsRefused, match="is no table of events"):
        case.sink.insert("sink_progress", make.body_of([make.Story().stage("intake")]), 1)


def test_a_body_without_rows_is_no_error(case):
    """Nothing to store is stored."""
    case.sink.insert("jobs", container(json.dumps(newest_json("JobEvent")), []), 0)
    assert case.rows("jobs") == []


def test_progress_is_what_was_recorded_last(case):
    """Each partition has its own position, and a later record wins even when it is lower."""
    assert case.sink.progress() == {}
    case.sink.set_progress([Position("traces", 0, 10), Position("traces", 1, 7)])
    case.sink.set_progress([Position("traces", 0, 25)])
    case.sink.set_progress([])
    assert case.sink.progress() == {Source("traces", 0): 25, Source("traces", 1): 7}
    case.sink.set_progress([Position("traces", 0, 3)])
    assert case.sink.progress()[Source("traces", 0)] == 3


def test_a_gap_is_recorded_once(case):
    """Recording the same gap again, after a restart, leaves one."""
    gap = Gap("traces", 2, wanted_offset=100, found_offset=250)
    case.sink.record_gap(gap)
    case.sink.record_gap(gap)
    assert case.gaps() == (gap,)


def test_a_closed_sink_is_away(case, make):
    """After close nothing is taken, and nothing is blamed for it."""
    case.sink.ping()
    row = make.Story().stage("intake")
    rows_before = case.rows("stage_events")
    closed = case.sink if isinstance(case, InMemory) else type(case.sink)(f"http://{'127.0.0.1'}:1")
    closed.close()
    with pytest.raises(WarehouseAway):
        closed.insert("stage_events", make.body_of([row]), 1)
    with pytest.raises(WarehouseAway):
        closed.ping()
    assert case.rows("stage_events") == rows_before

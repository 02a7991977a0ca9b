import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.avro import decode_rows, encode_rows, newest_json, rows_fingerprint
from schemas.trace import ControlEvent
from sinks.batch import Item, Part
from sinks.errors import RowsRefused, WarehouseAway
from sinks.flush import insert_part
from sinks.memory import MemorySink

SCHEMA_JSON = json.dumps(newest_json("ControlEvent"))
POISON = "poison"


class Picky(MemorySink):
    """Refuses a body with a poisoned row in it, as a warehouse does, and counts the inserts."""

    inserts = 0

    def insert(self, table, body, rows):
        self.inserts += 1
        if POISON.encode() in b"".join(body):
            raise RowsRefused("a row is poisoned")
        super().insert(table, body, rows)


def event(version, name):
    when = datetime(2026, 11, 21, tzinfo=UTC)
    return ControlEvent(
        control_version=version, time=when, key="k", kind="kill", target="model", name=name, version="", who="", why=""
    )


def part(names):
    items = (Item(encode_rows("ControlEvent", [event(number, name)]), 1, number) for number, name in enumerate(names))
    return Part("control_log", rows_fingerprint("ControlEvent"), tuple(items))


@given(st.lists(st.booleans(), max_size=40))
def test_exactly_the_refused_arrays_come_back(poisoned):
    """Whatever the mix, each bad array is named and every other one is stored, with inserts in k·log n."""
    sink = Picky()
    refused = insert_part(sink, part([POISON if bad else "fine" for bad in poisoned]), SCHEMA_JSON)
    assert [found.tag for found in refused] == [number for number, bad in enumerate(poisoned) if bad]
    assert sorted(row["control_version"] for row in sink.rows("control_log")) == [
        number for number, bad in enumerate(poisoned) if not bad
    ]
    assert sink.inserts <= 1 + 2 * sum(poisoned) * math.ceil(math.log2(max(2, len(poisoned))))


def test_a_part_without_rows_is_not_sent():
    """Records that hold no rows cost no insert."""
    sink = Picky()
    empty = Part("control_log", "f", (Item(b"\x00", 0, "tag"),))
    assert insert_part(sink, empty, SCHEMA_JSON) == ()
    assert sink.inserts == 0


def test_an_outage_refuses_nothing():
    """While the warehouse is away no array is blamed; the same part goes in afterwards."""
    sink = Picky()
    sink.away = True
    with pytest.raises(WarehouseAway):
        insert_part(sink, part(["fine", POISON]), SCHEMA_JSON)
    sink.away = False
    assert [found.tag for found in insert_part(sink, part(["fine", POISON]), SCHEMA_JSON)] == [1]


def arrays(*names_of_each):
    numbers = iter(range(10_000))
    items = []
    for tag, names in enumerate(names_of_each):
        rows = [event(next(numbers), name) for name in names]
        items.append(Item(encode_rows("ControlEvent", rows), len(rows), tag))
    return Part("control_log", rows_fingerprint("ControlEvent"), tuple(items))


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=30), max_size=4))
def test_good_rows_of_a_refused_array_are_stored(poisoned):
    """Whatever the mix, exactly the bad rows come back, as they were, and all others are stored."""
    sink = Picky()
    given_part = arrays(*[[POISON if bad else "fine" for bad in names] for names in poisoned])
    refused = insert_part(sink, given_part, SCHEMA_JSON)
    assert [found.tag for found in refused] == [tag for tag, names in enumerate(poisoned) if any(names)]
    back = [row["name"] for found in refused for row in decode_rows("ControlEvent", found.array)]
    assert back == [POISON] * sum(map(sum, poisoned))
    assert len(sink.rows("control_log")) == sum(map(len, poisoned)) - len(back)


def test_one_bad_row_among_500_costs_few_inserts():
    """Halving finds it, and the reason names it."""
    sink = Picky()
    names = ["fine"] * 500
    names[99] = POISON
    (refused,) = insert_part(sink, arrays(["fine"] * 10, names), SCHEMA_JSON)
    assert refused.reason == "row 100 of 500: a row is poisoned"
    assert sink.inserts <= 25
    assert len(sink.rows("control_log")) == 509


def test_a_flood_of_bad_rows_is_not_halved_for_ever():
    """When something is wrong with all rows, whole arrays are given up, and what is good is still stored."""
    sink = Picky()
    bad = [[POISON] * 90 for _ in range(20)]
    refused = insert_part(sink, arrays(*bad, ["fine"] * 5), SCHEMA_JSON)
    assert [found.tag for found in refused] == list(range(20))
    assert sum(len(decode_rows("ControlEvent", found.array)) for found in refused) == 1_800
    assert len(sink.rows("control_log")) == 5
    assert sink.inserts < 500


def test_an_array_whose_rows_can_t_be_told_apart_is_given_up_whole():
    """Bytes that don't follow the schema come back as they were, with where they stopped making sense."""
    sink = Picky()
    array = b"\x04" + POISON.encode() + b"\x00"
    part = Part("control_log", rows_fingerprint("ControlEvent"), (Item(array, 2, "tag"),))
    (refused,) = insert_part(sink, part, SCHEMA_JSON)
    assert refused.array == array
    assert "can't be told apart: row" in refused.reason


class Narrow(MemorySink):
    """Takes small bodies only, as a proxy may."""

    def insert(self, table, body, rows):
        if sum(map(len, body)) > 4_000:
            raise RowsRefused("too large")
        super().insert(table, body, rows)


def test_an_array_that_is_only_too_large_goes_in_by_halves():
    """Nothing is wrong with its rows, so nothing is given up."""
    sink = Narrow()
    assert insert_part(sink, arrays(["fine"] * 300), SCHEMA_JSON) == ()
    assert len(sink.rows("control_log")) == 300

import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.avro import encode_rows, newest_json, rows_fingerprint
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
        if POISON.encode() in body:
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

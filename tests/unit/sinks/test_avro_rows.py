import io
import json

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.avro import newest_json
from schemas.trace import TABLES
from sinks.avro_rows import array_of, rows_of
from sinks.errors import BrokenArray

INNER = {"type": "record", "name": "Inner", "namespace": "n", "fields": [{"name": "flag", "type": "boolean"}]}
SCHEMA = {
    "type": "record",
    "name": "Row",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "text", "type": "string"},
        {"name": "maybe", "type": ["null", "double", "float"]},
        {"name": "tags", "type": {"type": "map", "values": {"type": "array", "items": "bytes"}}},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
        {"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 4}},
        {"name": "inner", "type": INNER},
        {"name": "again", "type": ["null", "n.Inner"]},
        {"name": "when", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    ],
}
SCHEMA_JSON = json.dumps(SCHEMA)
PARSED = fastavro.parse_schema(SCHEMA)
ARRAY = fastavro.parse_schema({"type": "array", "items": SCHEMA})
inner = st.fixed_dictionaries({"flag": st.booleans()})
rows = st.fixed_dictionaries(
    {
        "id": st.integers(-(2**63), 2**63 - 1),
        "text": st.text(max_size=200),
        "maybe": st.none() | st.floats(allow_nan=False),
        "tags": st.dictionaries(st.text(max_size=5), st.lists(st.binary(max_size=5), max_size=3), max_size=3),
        "kind": st.sampled_from(["A", "B"]),
        "hash": st.binary(min_size=4, max_size=4),
        "inner": inner,
        "again": st.none() | inner,
        "when": st.integers(0, 10**15),
    }
)


def encode(schema, value):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, value)
    return out.getvalue()


@given(st.lists(rows, max_size=6))
def test_every_row_is_the_bytes_that_another_library_wrote(given_rows):
    """Rows are cut exactly where they begin and end, whatever their types; put together they are the array again."""
    array = encode(ARRAY, given_rows)
    found = rows_of(SCHEMA_JSON, array)
    assert [bytes(row) for row in found] == [encode(PARSED, row) for row in given_rows]
    assert array_of(found) == array


@given(st.lists(rows, min_size=1, max_size=3), st.data())
def test_cut_off_bytes_are_no_rows(given_rows, data):
    """An array that ends too early is refused with a sentence and never read beyond its end."""
    array = encode(ARRAY, given_rows)
    cut = data.draw(st.integers(1, len(array) - 2))
    with pytest.raises(BrokenArray):
        rows_of(SCHEMA_JSON, array[:cut] + b"\x00")


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.TABLE)
def test_every_table_s_schema_can_be_walked(table):
    """No schema of a table has a type that can't be stepped over."""
    assert rows_of(json.dumps(newest_json(table.__name__)), b"\x00") == ()

import io
import json

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.avro_body import LARGE, blocks, container, count_rows, read_long, write_long
from sinks.errors import BrokenArray

SCHEMA = {
    "type": "record",
    "name": "Row",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "text", "type": "string"},
        {"name": "maybe", "type": ["null", "double"]},
        {"name": "tags", "type": {"type": "map", "values": "string"}},
    ],
}
SCHEMA_JSON = json.dumps(SCHEMA)
PARSED = fastavro.parse_schema(SCHEMA)
ARRAY = fastavro.parse_schema({"type": "array", "items": SCHEMA})

rows_of_one_array = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(-(2**63), 2**63 - 1),
            "text": st.text(max_size=40),
            "maybe": st.none() | st.floats(allow_nan=False),
            "tags": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
        }
    ),
    max_size=8,
)


def encode(rows):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, ARRAY, rows)
    return out.getvalue()


def encode_in_sized_blocks(groups):
    """The other framing that Avro allows: a negative count and the size in bytes, as many blocks as one likes."""
    out = io.BytesIO()
    for group in groups:
        values = io.BytesIO()
        for row in group:
            fastavro.schemaless_writer(values, PARSED, row)
        out.write(write_long(-len(group)) + write_long(len(values.getvalue())) + values.getvalue())
    return out.getvalue() + b"\x00"


def read(body):
    return list(fastavro.reader(io.BytesIO(body)))


@given(st.lists(rows_of_one_array, max_size=6))
def test_no_row_is_lost_doubled_or_moved(arrays):
    """An independent reader finds in the body exactly the rows of all arrays, in order."""
    body = b"".join(container(SCHEMA_JSON, [encode(rows) for rows in arrays]))
    assert read(body) == [row for rows in arrays for row in rows]


def test_large_runs_of_values_are_not_copied():
    """What is large is passed on as a view of its array, among small pieces; joined, all rows are there in order."""
    texts = ["first", "x" * LARGE, "between", "y" * LARGE, "last"]
    rows = [{"id": number, "text": text, "maybe": None, "tags": {}} for number, text in enumerate(texts)]
    arrays = [encode([row]) for row in rows]
    body = container(SCHEMA_JSON, arrays)
    assert [piece.obj for piece in body if isinstance(piece, memoryview)] == [arrays[1], arrays[3]]
    assert read(b"".join(body)) == rows


@given(st.lists(st.lists(rows_of_one_array.filter(bool), max_size=4), max_size=4))
def test_arrays_of_sized_blocks_are_joined_too(arrays):
    """Arrays whose blocks state their sizes, as other Avro writers make them, keep every row."""
    encoded = [encode_in_sized_blocks(groups) for groups in arrays]
    expected = [row for groups in arrays for rows in groups for row in rows]
    assert read(b"".join(container(SCHEMA_JSON, encoded))) == expected
    assert sum(count_rows(array) for array in encoded) == len(expected)


@given(st.lists(rows_of_one_array, max_size=3))
def test_the_same_rows_make_the_same_body(arrays):
    """A body is a function of schema and arrays, so a repeated flush sends the same bytes."""
    encoded = [encode(rows) for rows in arrays]
    assert container(SCHEMA_JSON, encoded) == container(SCHEMA_JSON, encoded)
    assert [count_rows(array) for array in encoded] == [len(rows) for rows in arrays]


@given(st.binary(max_size=60))
def test_any_bytes_are_an_array_or_are_refused(junk):
    """Bytes that are no array raise BrokenArray and nothing else; no block reaches beyond the bytes."""
    try:
        found = list(blocks(junk))
    except BrokenArray:
        return
    assert sum(len(block.values) for block in found) < max(1, len(junk))
    assert all(block.rows > 0 for block in found)


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers_are_written_as_avro_writes_them(number):
    """Our variable-length numbers equal those of the Avro library and read back."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema("long"), number)
    assert write_long(number) == out.getvalue()
    assert read_long(memoryview(out.getvalue()), 0) == (number, len(out.getvalue()))


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (b"", "no number"),
        (b"\x80", "no number"),
        (b"\xff" * 11, "no number"),
        (b"\x02", "does not end"),
        (b"\x02abc", "does not end"),
        (b"\x00\x00", "follow the end mark"),
        (b"\x01\x7f", "claims -64 bytes"),
        (b"\x01\x04a\x00", "no number"),
        (b"\x01\x40a\x00", "claims 32 bytes"),
    ],
)
def test_a_broken_array_says_what_is_wrong(array, says):
    """Each way of being no array is named, and which of the arrays it was."""
    with pytest.raises(BrokenArray, match=says):
        list(blocks(array))
    with pytest.raises(BrokenArray, match="array 1 of 2"):
        container(SCHEMA_JSON, [b"\x00", array])

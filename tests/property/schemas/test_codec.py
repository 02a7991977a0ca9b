"""Everything with a wire format survives it, whatever its fields hold."""

import contextlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.avro import RECORDS, Codec, Unreadable, decode_rows, encode_rows
from schemas.base import json_text
from schemas.trace import TABLES

quick = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", RECORDS)
def test_every_record_is_read_as_it_was_written(name, any_of):
    """A value encoded and decoded is the same value, for every record and any content."""
    codec = Codec(name, RECORDS[name])

    @quick
    @given(any_of(RECORDS[name]))
    def check(value):
        assert codec.decode(codec.encode(value)) == value

    check()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.TABLE)
def test_every_row_is_read_as_it_was_written(table, any_of):
    """The rows of an array are those that were put into it, in order."""

    @quick
    @given(st.lists(any_of(table), max_size=3))
    def check(rows):
        data = encode_rows(table.__name__, rows)
        assert [table(**row) for row in decode_rows(table.__name__, data)] == rows

    check()


@quick
@given(st.sampled_from(sorted(RECORDS)), st.binary(max_size=200), st.booleans())
def test_broken_bytes_are_unreadable_and_nothing_else(name, noise, framed):
    """No bytes make a decoder raise anything but Unreadable, behind a valid mark and fingerprint too."""
    codec = Codec(name, RECORDS[name])
    data = codec._prefix + noise if framed else noise
    with contextlib.suppress(Unreadable):
        assert isinstance(codec.decode(data), RECORDS[name])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(JSON)
@settings(deadline=None, max_examples=60)
def test_canonical_json_has_one_form(value):
    """The text reads as the value, and writing what was read gives the same text, whatever the order of keys."""
    text = json_text(value)
    assert json.loads(text) == value
    assert json_text(json.loads(text)) == text
    if isinstance(value, dict):
        assert json_text(dict(reversed(value.items()))) == text

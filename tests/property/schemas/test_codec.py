"""Everything with a wire format survives it, whatever its fields hold."""

import contextlib
import io
import json
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.avro import RECORDS, Codec, Unreadable, decode_rows, encode_rows, newest, newest_json
from schemas.avro_writer import LONG, writer
from schemas.base import json_text
from schemas.derive import PRIMITIVES
from schemas.result import Result
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


@pytest.mark.parametrize("name", RECORDS)
def test_the_bytes_are_those_of_the_library(name, any_of):
    """The functions made from a schema write what fastavro writes, for every record and any content."""
    write, schema = writer(newest_json(name)), newest(name)

    @quick
    @given(any_of(RECORDS[name]))
    def check(value):
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema, value.model_dump())
        assert write(value) == out.getvalue()

    check()


@given(st.decimals(allow_nan=False, allow_infinity=False) | st.decimals(-(10**10), 10**10, places=10))
@settings(deadline=None)
def test_money_is_written_whole_or_not_at_all(amount):
    """An amount of more than 18 digits or 9 places is refused: no digit is dropped in silence."""
    schema = {"type": "record", "name": "Paid", "fields": [{"name": "usd", "type": PRIMITIVES[Decimal]}]}
    try:
        written = writer(schema)(SimpleNamespace(usd=amount))
    except ValueError:
        nanos = Fraction(amount) * 10**9
        assert nanos.denominator > 1 or abs(nanos) >= 10**18
    else:
        assert fastavro.schemaless_reader(io.BytesIO(written), schema, None) == {"usd": amount}


def test_a_result_reads_as_json_with_all_its_fields(any_of):
    """People read every field as JSON has it: texts that hold JSON as values, money as text, times in ISO 8601."""

    @quick
    @given(any_of(Result).map(lambda result: result.but(output=None, decision_path="[]")))
    def check(result):
        cost = None if result.cost_usd is None else format(result.cost_usd, "f")
        expected = result.model_dump(mode="json") | {"decision_path": [], "cost_usd": cost}
        assert json.loads(result.to_json()) == expected

    check()


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_that_is_made_is_one_that_was_validated(name, any_of):
    """The short ways to a record on the hot path give equal records, which can be compared, copied and shown."""
    model = RECORDS[name]

    @settings(quick, max_examples=3)
    @given(any_of(model), any_of(model))
    def check(value, other):
        assert model.made(**value.__dict__) == model.of(dict(value.__dict__)) == value
        changed = value.but(**other.__dict__)
        assert (changed, repr(changed), changed.model_copy()) == (other, repr(other), other)

    check()


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_an_integer_beyond_64_bits_is_refused(number):
    """What no reader could read is not written."""
    with pytest.raises(OverflowError, match="64 bits"):
        LONG[number]


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


@given(st.dictionaries(st.text(), st.text(), max_size=4))
def test_an_object_of_texts_is_written_like_any_other(texts):
    """The short way for what inputs and answers mostly are gives the same text, and refuses the same."""
    nested = {"": texts}
    try:
        long = json_text(nested)
    except ValueError:
        with pytest.raises(ValueError, match="not a JSON value"):
            json_text(texts)
    else:
        assert long == f'{{"":{json_text(texts)}}}'

"""Strategies for wire models, derived from their fields as the Avro schemas are."""

import types
import typing
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

import pytest
from hypothesis import strategies as st
from pydantic import BaseModel

LONG = 2**63
PLAIN = {
    str: st.text(max_size=30),
    int: st.integers(-LONG, LONG - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    bytes: st.binary(max_size=30),
    datetime: st.datetimes(timezones=st.just(UTC)),
}


def of_model(model):
    """Any value of a model."""
    return st.builds(model, **{name: of_field(info) for name, info in model.model_fields.items()})


def of_field(info):
    return _of(info.annotation, info.metadata)


def _of(annotation, metadata=()):  # noqa: PLR0911 -- one line per kind of type
    if hasattr(annotation, "__supertype__"):
        return _of(annotation.__supertype__, metadata)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        inner, *more = arguments
        return _of(inner, [*metadata, *_constraints(more)])
    if origin in {typing.Union, types.UnionType}:
        return st.one_of(_of(kind) if kind is not types.NoneType else st.none() for kind in arguments)
    if origin is tuple:
        return st.lists(_of(arguments[0]), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(st.text(max_size=5), _of(arguments[1]), max_size=2)
    if issubclass(annotation, StrEnum):
        return st.sampled_from(list(annotation))
    if issubclass(annotation, BaseModel):
        return st.deferred(lambda: of_model(annotation))
    return _bounded(annotation, metadata)


def _constraints(more):
    """Constraints stand in a Field or beside it."""
    return [one for field in more for one in getattr(field, "metadata", [field])]


def _bounded(kind, metadata):
    said = {
        name: getattr(one, name) for one in metadata for name in ("ge", "gt", "le", "pattern") if hasattr(one, name)
    }
    if kind is Decimal:
        least = Decimal(said.get("ge", -999_999_999))
        return st.decimals(least, 999_999_999, places=9, allow_nan=False, allow_infinity=False)
    if kind is int and said:
        return st.integers(said.get("ge", said.get("gt", -LONG) + 1), said.get("le", LONG - 1))
    if said.get("pattern"):
        whole = said["pattern"].replace("^", r"\A", 1).removesuffix("$") + r"\Z"
        return st.from_regex(whole).filter(lambda text: len(text) <= 200)
    return PLAIN[kind]


@pytest.fixture
def any_of():
    """Give the strategy of a model."""
    return of_model

"""Reads records as people and their programs write them: a JSON object, or Avro of the same fields."""

from collections.abc import Callable
from typing import Any, TypeVar

import jiter
from pydantic import ValidationError

from schemas.avro import MARKER, Codec, Unreadable
from schemas.base import Record

R = TypeVar("R", bound=Record)


def read(
    value: bytes | None,
    codec: Callable[[], Codec[R]],
    what: str,
    example: str,
    mended: Callable[[dict[str, Any]], dict[str, Any]] = lambda fields: fields,
) -> R:
    """The record; `mended` turns its JSON fields into those of the model.

    Raises:
        Unreadable: it is no such record; the message says what is missing or wrong.
    """
    if not value:
        raise Unreadable(f"the record is empty; expected {example}")
    if value[:2] == MARKER:
        return codec().decode(value)
    try:
        fields = jiter.from_json(value, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError as error:
        raise Unreadable(f"a {what} must be a JSON object: {error}") from error
    if not isinstance(fields, dict):
        raise Unreadable(f"a {what} must be a JSON object, found a {type(fields).__name__}")
    try:
        return codec().model.model_validate(mended(fields))
    except ValidationError as error:
        found = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5]]
        raise Unreadable(f"this is no {what}: {'; '.join(found)}") from error

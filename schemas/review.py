"""Reads a person's verdict as it comes on `reviews`: a JSON object, or an Avro record of the same fields."""

import functools
from typing import Any

import jiter
from pydantic import ValidationError

from schemas.avro import MARKER, Codec, Unreadable
from schemas.base import json_text
from schemas.side import Review


@functools.cache
def review_codec() -> Codec[Review]:
    """A review between stages."""
    return Codec("Review", Review)


def read_review(value: bytes | None) -> Review:
    """The verdict.

    Raises:
        Unreadable: the record is no verdict; the message says what is missing or wrong.
    """
    if not value:
        raise Unreadable('the record is empty; expected {"escalation_id": …, "verdict": …, "reviewer": …}')
    if value[:2] == MARKER:
        return review_codec().decode(value)
    try:
        fields = jiter.from_json(value, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError as error:
        raise Unreadable(f"a review must be a JSON object: {error}") from error
    if not isinstance(fields, dict):
        raise Unreadable(f"a review must be a JSON object, found a {type(fields).__name__}")
    return _review(fields)


def _review(fields: dict[str, Any]) -> Review:
    try:
        if fields.get("output") is not None:
            fields["output"] = json_text(fields["output"])
        return Review.model_validate(fields)
    except ValidationError as error:
        found = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5]]
        raise Unreadable(f"this is no review: {'; '.join(found)}") from error
    except ValueError as error:
        raise Unreadable(f"output: {error}") from error

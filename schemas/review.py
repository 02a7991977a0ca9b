"""Reads a person's verdict as it comes on `reviews`: a JSON object, or an Avro record of the same fields."""

import functools
from typing import Any, Final

from schemas import by_people
from schemas.avro import Codec, Unreadable
from schemas.base import json_text
from schemas.side import Review

EXAMPLE: Final = '{"escalation_id": …, "verdict": …, "reviewer": …}'


@functools.cache
def review_codec() -> Codec[Review]:
    """A review between stages."""
    return Codec("Review", Review)


def read_review(value: bytes | None) -> Review:
    """The verdict.

    Raises:
        Unreadable: the record is no verdict; the message says what is missing or wrong.
    """
    return by_people.read(value, review_codec, "review", EXAMPLE, _with_output_as_text)


def _with_output_as_text(fields: dict[str, Any]) -> dict[str, Any]:
    if fields.get("output") is not None:
        try:
            fields["output"] = json_text(fields["output"])
        except ValueError as error:
            raise Unreadable(f"output: {error}") from error
    return fields

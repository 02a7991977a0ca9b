"""The strict reading of a model's answer: one code fence at most, one JSON value, nothing repaired, nothing guessed."""

import re
from dataclasses import dataclass
from typing import Any

import jiter

from schemas.base import JsonText, json_text

VERSION = "1"
MAX_BYTES = 1024 * 1024

_FENCE = re.compile(r"```[A-Za-z0-9_-]*[ \t]*\r?\n(.*?)\r?\n?[ \t]*```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Parsed:
    """The value, numbers with a point as doubles, and its canonical JSON text."""

    value: Any
    text: JsonText


@dataclass(frozen=True, slots=True)
class Refused:
    """Why the text is not exactly one JSON value."""

    reason: str


def unwrapped(text: str) -> str:
    """The text without blanks around it and without the one code fence that may enclose all of it."""
    text = text.strip(" \t\r\n")
    fenced = _FENCE.fullmatch(text) if text.startswith("```") else None
    return fenced[1] if fenced else text


def parse(text: str) -> Parsed | Refused:
    """The one JSON value that the text is, or why it is refused.

    Refused are: anything before or after the value, a second value, duplicate keys, NaN and infinities (also as 1e999),
    lone surrogates, nesting beyond about 200 levels, integers beyond 4,300 digits, more than 1 MiB.
    """
    try:
        data = unwrapped(text).encode()
    except UnicodeEncodeError as error:
        return Refused(f"the answer is not Unicode text: {error}")
    if not data:
        return Refused("the answer is empty; expected one JSON value")
    if len(data) > MAX_BYTES:
        return Refused(f"the answer has {len(data)} bytes; at most {MAX_BYTES} are read")
    try:
        value = jiter.from_json(data, allow_inf_nan=False, catch_duplicate_keys=True)
        return Parsed(value, json_text(value))
    except ValueError as error:
        return Refused(f"not exactly one JSON value: {error}")

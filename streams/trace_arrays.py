"""Rows as arrays that fit into records of `traces`, whatever a producer or a provider has put into them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from schemas.avro import encode_rows
from schemas.trace import Event
from streams.topics import TRACES

FRAMING = 4096
"""Bytes for the headers of a record of `traces`, and more."""
LONGEST = 64 * 1024
"""Bytes of a column that are kept of a row which is too large as it is."""
LONGEST_TEXT = 8 * 1024 * 1024
"""The same of the column that is there for long texts."""
CUT_MARK = " …[cut]"


def arrays(name: str, rows: Sequence[Event], limit: int = TRACES.settings.max_bytes - FRAMING) -> Iterator[bytes]:
    """Avro arrays of these rows of one table, each within the limit; seldom more than one."""
    try:
        encoded = encode_rows(name, rows)
    except UnicodeEncodeError:  # half a character: no text on any wire, and no reason to hold up a commit
        encoded = encode_rows(name, [_changed(row, _whole) for row in rows])
    if len(encoded) <= limit:
        yield encoded
    elif len(rows) > 1:
        half = len(rows) // 2
        yield from arrays(name, rows[:half], limit)
        yield from arrays(name, rows[half:], limit)
    else:
        yield encode_rows(name, [_changed(rows[0], _short)])


def _changed(row: Event, change: Any) -> Event:
    return type(row).made(**{name: change(name, value) for name, value in row.__dict__.items()})


def _whole(_: str, value: Any) -> Any:
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case Mapping():
            return {_whole("", key): _whole("", of_key) for key, of_key in value.items()}
        case tuple():
            return tuple(_whole("", part) for part in value)
        case _:
            return value


def _short(name: str, value: Any) -> Any:
    match value:
        case str():
            return _cut(value, LONGEST_TEXT if name == "text" else LONGEST)
        case Mapping():
            short = [(_cut(key, LONGEST), _cut(of_key, LONGEST)) for key, of_key in value.items()]
            return {key: of_key for key, of_key in _first(short)}  # noqa: C416 -- pairs that the type checker can see
        case tuple():
            return tuple(part for (part,) in _first([(_cut(part, LONGEST),) for part in value]))
        case _:
            return value


def _cut(text: str, most: int) -> str:
    encoded = text.encode(errors="replace")
    return text if len(encoded) <= most else encoded[: most - len(CUT_MARK.encode())].decode(errors="ignore") + CUT_MARK


def _first(parts: Sequence[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """As many of them, from the first, as fit together."""
    left = LONGEST
    for part in parts:
        left -= sum(len(text.encode(errors="replace")) + 8 for text in part)
        if left < 0:
            return
        yield part

"""Inserts a part of a batch and finds, by halving, what the warehouse refuses: first the array, then the rows in it.

A row is cut out as the bytes that its stage wrote, never decoded and written again: what a warehouse refuses is often
just what can't be decoded. Only an array whose rows can't be told apart is given up whole.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from sinks.avro_body import container
from sinks.avro_rows import array_of, rows_of
from sinks.batch import Item, Part
from sinks.errors import BrokenArray, RowsRefused
from sinks.port import Sink

T = TypeVar("T")
X = TypeVar("X")

MAX_ALONE: Final = 100
"""Rows of one part that are found by halving. When more are bad, something is wrong with all of them, and to ask for
each would hold up everything behind it: from then on an array that is refused is given up whole."""
SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Refused(Generic[T]):
    """What the warehouse refuses of one array: the array's tag, what was said, and the refused rows as an array."""

    tag: T
    reason: str
    array: bytes


def insert_part(sink: Sink, part: Part[T], schema_json: str) -> tuple[Refused[T], ...]:
    """Insert all rows of a part, in one body if the warehouse takes it; return what it refuses, by array.

    k bad rows in arrays of m among n arrays cost about 2·k·(log2(n) + log2(m)) further inserts. Every row not returned
    is stored.

    Args:
        sink: where to.
        part: the arrays of one table and schema.
        schema_json: the schema that the part's fingerprint names.

    Raises:
        WarehouseAway: not now; call again with the same part.
    """

    def insert_arrays(items: Sequence[Item[T]]) -> None:
        rows = sum(item.rows for item in items)
        if rows:
            sink.insert(part.table, container(schema_json, [item.array for item in items]), rows)

    def insert_rows(rows: Sequence[memoryview]) -> None:
        sink.insert(part.table, container(schema_json, [array_of(rows)]), len(rows))

    refused: list[Refused[T]] = []
    alone = 0
    for position, why in _halve(part.items, insert_arrays):
        item = part.items[position]
        bad, reason = _bad_rows(item.array, why, schema_json, insert_rows if alone < MAX_ALONE else None)
        if bad is not None:
            alone += len(bad)
            refused.append(Refused(item.tag, reason, array_of(bad)))
        elif reason:
            alone += item.rows
            refused.append(Refused(item.tag, reason, item.array))
    return tuple(refused)


def _bad_rows(
    array: bytes, why: str, schema_json: str, insert: Callable[[Sequence[memoryview]], None] | None
) -> tuple[list[memoryview] | None, str]:
    """The rows that are refused, with the reason; None for all of the array; no reason when it went in by halves."""
    if insert is None:
        return None, f"{why} (its rows were not tried: more than {MAX_ALONE} beside it were refused)"
    try:
        rows = rows_of(schema_json, array)
    except BrokenArray as broken:
        return None, f"{why} (its rows can't be told apart: {broken})"
    if len(rows) == 1:
        return list(rows), why
    found = []
    for position, said in _halve(rows, insert, tried=True):
        found.append((position, said))
        if len(found) > MAX_ALONE:
            return None, f"more than {MAX_ALONE} of its {len(rows)} rows are refused, the first because: {found[0][1]}"
    if not found:
        return None, ""  # too much at once, and nothing wrong with it
    numbers = ", ".join(str(position + 1) for position, _ in found[:SHOWN]) + (", …" if len(found) > SHOWN else "")
    return [rows[position] for position, _ in found], f"row {numbers} of {len(rows)}: {found[0][1]}"


def _halve(
    things: Sequence[X], insert: Callable[[Sequence[X]], None], *, tried: bool = False
) -> Iterator[tuple[int, str]]:
    """Insert all; yield the position of each that is refused even alone, in order, with what was said.

    Args:
        things: what to insert.
        insert: inserts some of them or raises RowsRefused.
        tried: all of them together were refused before.
    """
    middle = len(things) // 2
    waiting = [(middle, len(things)), (0, middle)] if tried else [(0, len(things))]
    while waiting:
        start, end = waiting.pop()
        try:
            insert(things[start:end])
        except RowsRefused as error:
            if end - start == 1:
                yield start, str(error)
                continue
            middle = (start + end) // 2
            waiting += [(middle, end), (start, middle)]

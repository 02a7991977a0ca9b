"""Inserts a part of a batch and finds, by halving, the arrays that the warehouse refuses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sinks.avro_body import container
from sinks.batch import Item, Part
from sinks.errors import RowsRefused
from sinks.port import Sink

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Refused(Generic[T]):
    """An array that the warehouse refuses even alone, by its tag, and what it said."""

    tag: T
    reason: str


def insert_part(sink: Sink, part: Part[T], schema_json: str) -> tuple[Refused[T], ...]:
    """Insert all rows of a part, in one body if the warehouse takes it; return the arrays that it refuses.

    k bad arrays among n cost about 2·k·log2(n) further inserts. Every array not returned is stored.

    Args:
        sink: where to.
        part: the arrays of one table and schema.
        schema_json: the schema that the part's fingerprint names.

    Raises:
        WarehouseAway: not now; call again with the same part.
    """
    refused: list[Refused[T]] = []
    waiting: list[Sequence[Item[T]]] = [part.items]
    while waiting:
        items = waiting.pop()
        try:
            _insert(sink, part.table, items, schema_json)
        except RowsRefused as error:
            if len(items) == 1:
                refused.append(Refused(items[0].tag, str(error)))
                continue
            middle = len(items) // 2
            waiting += (items[middle:], items[:middle])
    return tuple(refused)


def _insert(sink: Sink, table: str, items: Sequence[Item[T]], schema_json: str) -> None:
    rows = sum(item.rows for item in items)
    if rows:
        sink.insert(table, container(schema_json, [item.array for item in items]), rows)

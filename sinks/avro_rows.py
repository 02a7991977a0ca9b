"""Where each row of an Avro array begins and ends, found by walking the schema over its bytes. Pure; decodes no value.

So a row that can't be decoded (text that is no UTF-8, a date out of range) is told from its neighbours all the same,
and every row stays the bytes that its stage wrote.
"""

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from sinks.avro_body import blocks, read_long, write_long
from sinks.errors import BrokenArray

Skip = Callable[[memoryview, int], int]
"""The position after the value at this position."""

FIXED_SIZES: Final = {"null": 0, "boolean": 1, "float": 4, "double": 8}


def rows_of(schema_json: str, array: bytes) -> tuple[memoryview, ...]:
    """The bytes of each row of an array, in order.

    Args:
        schema_json: the row's schema, under which the array was written.
        array: an Avro array body.

    Raises:
        BrokenArray: the bytes are no array of such rows; the message names the row.
    """
    skip = _row(schema_json)
    found: list[memoryview] = []
    for block in blocks(array):
        at = 0
        for _ in range(block.rows):
            try:
                end = skip(block.values, at)
            except BrokenArray as error:
                raise BrokenArray(f"row {len(found) + 1}: {error}") from error
            found.append(block.values[at:end])
            at = end
        if at != len(block.values):
            raise BrokenArray(f"{len(block.values) - at} bytes follow row {len(found)}, the last of its block")
    return tuple(found)


def array_of(rows: Sequence[bytes | memoryview]) -> bytes:
    """The array body of these rows."""
    return b"".join((write_long(len(rows)), *rows, b"\x00")) if rows else b"\x00"


@functools.lru_cache(maxsize=64)
def _row(schema_json: str) -> Skip:
    return _skip(json.loads(schema_json), {})


def _skip(schema: Any, named: dict[str, Skip]) -> Skip:  # noqa: C901, PLR0911 -- one line for each of Avro's types
    """How to step over a value of a schema; `named` holds the named types seen so far."""
    if isinstance(schema, list):
        return _union([_skip(branch, named) for branch in schema])
    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(kind, dict | list):
        return _skip(kind, named)
    match kind:
        case "record":
            return _name(schema, named, _record([_skip(field["type"], named) for field in schema["fields"]]))
        case "fixed":
            return _name(schema, named, _bytes(int(schema["size"])))
        case "enum":
            return _name(schema, named, _long)
        case "int" | "long":
            return _long
        case "string" | "bytes":
            return _text
        case "array":
            return _blocks(_skip(schema["items"], named))
        case "map":
            value = _skip(schema["values"], named)
            return _blocks(lambda view, at: value(view, _text(view, at)))
        case known if known in FIXED_SIZES:
            return _bytes(FIXED_SIZES[known])
        case _:
            return named[kind]


def _name(schema: dict[str, Any], named: dict[str, Skip], skip: Skip) -> Skip:
    named[schema["name"]] = skip
    if "namespace" in schema:
        named[f"{schema['namespace']}.{schema['name']}"] = skip
    return skip


def _long(view: memoryview, at: int) -> int:
    return read_long(view, at)[1]


def _text(view: memoryview, at: int) -> int:
    size, at = read_long(view, at)
    return _within(view, at, size)


def _within(view: memoryview, at: int, size: int) -> int:
    if not 0 <= size <= len(view) - at:
        raise BrokenArray(f"a value claims {size} bytes at byte {at}, {len(view) - at} are left")
    return at + size


def _bytes(size: int) -> Skip:
    return lambda view, at: _within(view, at, size)


def _record(fields: Sequence[Skip]) -> Skip:
    def skip(view: memoryview, at: int) -> int:
        for field in fields:
            at = field(view, at)
        return at

    return skip


def _union(branches: Sequence[Skip]) -> Skip:
    def skip(view: memoryview, at: int) -> int:
        branch, at = read_long(view, at)
        if not 0 <= branch < len(branches):
            raise BrokenArray(f"a union of {len(branches)} branches names branch {branch} before byte {at}")
        return branches[branch](view, at)

    return skip


def _blocks(item: Skip) -> Skip:
    def skip(view: memoryview, at: int) -> int:
        while True:
            count, at = read_long(view, at)
            if count == 0:
                return at
            if count < 0:  # a size in bytes follows
                at = _text(view, at)
                continue
            if count > len(view) - at:
                raise BrokenArray(f"a block claims {count} items at byte {at}, {len(view) - at} bytes are left")
            for _ in range(count):
                at = item(view, at)

    return skip

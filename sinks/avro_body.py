"""Joins Avro arrays of rows into one Avro container body, without decoding a row. Pure; knows Avro's framing only.

An array is blocks of (count, values) and an end mark of one zero byte; a container is a header (magic, the schema, a
sync marker) and blocks of (count, size, values, sync marker). The values are the same bytes, so only frames change.

A block's count may be negative, then its size in bytes follows: such an array may have many blocks. With a positive
count nothing says where the block ends but decoding it, so such an array must be one block, as ours are.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sinks.errors import BrokenArray

MAGIC = b"Obj\x01"
END = 0
MAX_VARINT = 10  # bytes of a 64-bit number at seven bits a byte
LARGE = 64 * 1024
"""Bytes from which on a run of values is passed on as it lies; below, to copy it costs less than to send it alone."""

Body = tuple[bytes | memoryview, ...]
"""Bytes in pieces, to be sent one after the other: joined, they would be copied once more."""


class Block(NamedTuple):
    """Some rows of an array: how many, and their values as one run of bytes."""

    rows: int
    values: memoryview


def container(schema_json: str, arrays: Sequence[bytes]) -> Body:
    """One Avro container (codec null) of the rows of all arrays, in their order; the same input gives the same bytes.

    Its pieces are parts of the arrays, which must not change as long as it is in use.

    Args:
        schema_json: the row's schema, under which every array was written.
        arrays: Avro array bodies without any framing before them.

    Raises:
        BrokenArray: a body is no such array; the message names its position.
    """
    # Readers compare it; hashing the rows would cost more than all the rest.
    sync = hashlib.sha256(schema_json.encode()).digest()[:16]
    parts: list[bytes | memoryview] = [_header(schema_json, sync)]
    for position, array in enumerate(arrays):
        try:
            for block in blocks(array):
                parts += (write_long(block.rows), write_long(len(block.values)), block.values, sync)
        except BrokenArray as error:
            raise BrokenArray(f"array {position} of {len(arrays)}: {error}") from error
    return tuple(_pieces(parts))


def _pieces(parts: Sequence[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    small: list[bytes | memoryview] = []
    for part in parts:
        if len(part) < LARGE:
            small.append(part)
            continue
        yield b"".join(small)
        yield part
        small = []
    yield b"".join(small)


def count_rows(array: bytes) -> int:
    """How many rows an array says it holds.

    Raises:
        BrokenArray: the bytes are no array.
    """
    return sum(block.rows for block in blocks(array))


def blocks(array: bytes) -> Iterator[Block]:
    """The blocks of an array body.

    Raises:
        BrokenArray: a count, a size or the end mark is missing or does not fit.
    """
    view, at = memoryview(array), 0
    while True:
        count, at = read_long(view, at)
        if count == END:
            if at != len(view):
                raise BrokenArray(f"{len(view) - at} bytes follow the end mark of the array")
            return
        if count > 0:
            yield _only_block(view, count, at)
            return
        size, at = read_long(view, at)
        if not 0 <= size <= len(view) - at:
            raise BrokenArray(f"a block claims {size} bytes, {len(view) - at} are left")
        yield Block(-count, view[at : at + size])
        at += size


def _only_block(view: memoryview, count: int, at: int) -> Block:
    if at >= len(view) or view[-1] != END:
        raise BrokenArray(f"an array of {count} rows does not end in the end mark")
    return Block(count, view[at:-1])


def _header(schema_json: str, sync: bytes) -> bytes:
    metadata = {"avro.codec": b"null", "avro.schema": schema_json.encode()}
    entries = b"".join(_bytes(key.encode()) + _bytes(value) for key, value in metadata.items())
    return MAGIC + write_long(len(metadata)) + entries + b"\x00" + sync


def _bytes(value: bytes) -> bytes:
    return write_long(len(value)) + value


def write_long(number: int) -> bytes:
    """A 64-bit number as Avro writes it: zigzag, then seven bits a byte, lowest first."""
    left = (number << 1) ^ (number >> 63)
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


def read_long(view: memoryview, at: int) -> tuple[int, int]:
    """The number at this position, and the position after it.

    Raises:
        BrokenArray: the bytes end inside a number, or it is longer than 64 bits.
    """
    number = 0
    for index, byte in enumerate(view[at : at + MAX_VARINT]):
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if number >> 64:
                break
            return (number >> 1) ^ -(number & 1), at + index + 1
    raise BrokenArray(f"no number of at most 64 bits at byte {at} of {len(view)}")

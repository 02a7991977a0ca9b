"""The metadata of a commit: which records above the committed offset are unfinished, in at most 4,095 characters.

Form: `3:` + checksum (8 hex digits) + `:` + base85 of varints: the base, the span to the highest started offset, the
four numbers of the note, the stamp, the distance from each unfinished offset to the one before it. A new owner skips
what was finished above the watermark, and learns from the note how its predecessors ended. The stamp tells commits of
one position apart: whoever does not know whether its commit took place looks for it.
"""

import base64
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from streams.isolation import CLEAN, Note

VERSION = "3"
WITHOUT_STAMP = "2"
MAX_CHARACTERS = 4095
"""Kafka's default offset.metadata.max.bytes is 4,096, and 4,096 characters were refused."""

MAX_UNFINISHED = 1500
"""Unfinished records per partition whose offsets fit (measured: 2.6 KB for 1,500)."""


class ForeignMetadata(ValueError):  # noqa: N818 -- names what was found
    """A commit that Penstock did not write, or wrote under another version."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a partition stands: below `base` all is finished, and up to `highest` all that is not `unfinished`."""

    base: int
    highest: int
    unfinished: tuple[int, ...]
    note: Note = CLEAN

    def finished(self, offset: int) -> bool:
        """Whether the record at this offset had its outcome committed."""
        return offset < self.base or (offset <= self.highest and offset not in self.unfinished)


def encode(position: Position, stamp: int = 0) -> str:
    """The metadata of a commit at `position.base`."""
    note = position.note
    numbers = [position.highest - position.base + 1, note.deaths, note.limit, note.alone, int(note.apart), stamp]
    last = position.base
    for offset in position.unfinished:
        numbers.append(offset - last)
        last = offset
    body = base64.b85encode(b"".join(map(_varint, [position.base, *numbers]))).decode()
    text = f"{VERSION}:{zlib.crc32(body.encode()):08x}:{body}"
    if len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"{len(position.unfinished)} unfinished offsets over a span of {position.highest - position.base} need "
            f"{len(text)} characters of commit metadata, {MAX_CHARACTERS} fit: lower the stage's concurrency"
        )
    return text


def decode(offset: int, metadata: str | None) -> Position:
    """The position that a commit at `offset` with this metadata stands for.

    Raises:
        ForeignMetadata: the metadata is of another writer or version, damaged, or its base is not the offset.
    """
    if not metadata:
        raise ForeignMetadata(
            f"the commit at offset {offset} carries no metadata: something else committed to this group"
        )
    version, _, rest = metadata.partition(":")
    checksum, _, body = rest.partition(":")
    if version not in {VERSION, WITHOUT_STAMP}:
        raise ForeignMetadata(f"commit metadata of version {version[:20]!r}; this Penstock reads version {VERSION}")
    if checksum != f"{zlib.crc32(body.encode()):08x}":
        raise ForeignMetadata(f"commit metadata at offset {offset} is damaged: its checksum does not fit")
    base, span, deaths, limit, alone, apart, *deltas = _varints(base64.b85decode(body))
    if version == VERSION:
        del deltas[0]
    if base != offset:
        raise ForeignMetadata(f"commit metadata says base {base}, the committed offset is {offset}")
    return Position(base, base + span - 1, tuple(_running(base, deltas)), Note(deaths, limit, alone, bool(apart)))


def _running(start: int, deltas: Iterable[int]) -> Iterator[int]:
    for delta in deltas:
        start += delta
        yield start


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _varints(data: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield number
            number = shift = 0

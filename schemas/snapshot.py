"""Reads which version of a context snapshot is the newest, as it comes on `snapshot-versions`."""

import functools
from typing import Final

from schemas import by_people
from schemas.avro import Codec
from schemas.side import SnapshotVersion

EXAMPLE: Final = '{"snapshot_id": …, "version": …, "at": "2026-01-31T12:00:00Z"}'


@functools.cache
def _codec() -> Codec[SnapshotVersion]:
    return Codec("SnapshotVersion", SnapshotVersion)


def read_snapshot_version(value: bytes | None) -> SnapshotVersion:
    """The newest version of a snapshot.

    Raises:
        Unreadable: the record says no such thing; the message says what is missing or wrong.
    """
    return by_people.read(value, _codec, "snapshot version", EXAMPLE)

"""What an ordered stage remembers of one partition: values by key, in memory, with every change on a changelog.

Changes and the offset of the record that caused them are one transaction, so state and position never disagree. The
state may run ahead of the commits: what was not committed belongs to an assignment that is dropped with its state.
"""

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from schemas.avro import Codec, Unreadable
from schemas.base import Record as Model
from schemas.state import StateMark
from streams.errors import StateLost
from streams.records import Record
from streams.topics import Topic

MARK = "@mark"
_MARKS = Codec("StateMark", StateMark)


class Dated(Protocol):
    """A value that knows when it was last changed."""

    @property
    def changed_ms(self) -> int:
        """Milliseconds since the epoch, by the state's clock."""
        ...


V = TypeVar("V", bound=Model)


@dataclass(frozen=True)
class Changelog(Generic[V]):
    """Where a state's changes go and how its values are written."""

    topic: Topic
    codec: Codec[V]


class PartitionState(Generic[V]):
    """The entries of one partition, those changed longest ago first."""

    def __init__(self, changelog: Changelog[V], partition: int, partitions: int) -> None:
        self.changelog = changelog
        self.partition = partition
        self._partitions = partitions
        self._entries: dict[str, tuple[V, int]] = {}
        self._digest = 0
        self._clock_ms = 0
        self._mark: StateMark | None = None
        self._changes: dict[str, bytes | None] = {}
        self._restoring: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def is_place_of(self, key: bytes) -> bool:
        """Whether records of this key are in this partition: `consistent_random` of librdkafka, where the key is not
        empty."""  # noqa: D205, D209 -- one sentence
        return bool(key) and zlib.crc32(key) % self._partitions == self.partition

    def get(self, key: str) -> V | None:
        """The value under a key."""
        entry = self._entries.get(key)
        return None if entry is None else entry[0]

    def now(self, wall_ms: int) -> int:
        """The state's time in milliseconds: the wall clock's, unless that went back."""
        self._clock_ms = max(self._clock_ms, wall_ms)
        return self._clock_ms

    def put(self, key: str, value: V) -> None:
        """Remember a value."""
        encoded = self.changelog.codec.encode(value)
        self._set(key, value, encoded)
        self._changes[key] = encoded

    def drop(self, key: str) -> None:
        """Forget a key."""
        self._unset(key)
        self._changes[key] = None

    def oldest(self) -> Iterator[tuple[str, V]]:
        """The entries, those changed longest ago first."""
        return ((key, value) for key, (value, _) in self._entries.items())

    def changes(self) -> tuple[Record, ...]:
        """The changes since the last call as records of the changelog, the mark last; nothing if there are none."""
        if not self._changes:
            return ()
        changes, self._changes = self._changes, {}
        topic = self.changelog.topic.name
        records = (Record(topic, key.encode(), value, partition=self.partition) for key, value in changes.items())
        return (*records, self._marked())

    def first_mark(self) -> Record | None:
        """The mark of a changelog that has none yet: it must be there before a position is committed."""
        return self._marked() if self._mark is None else None

    def _marked(self) -> Record:
        mark = StateMark.made(
            partitions=self._partitions, entries=len(self._entries), digest=self._digest, clock_ms=self._clock_ms
        )
        self._mark = mark
        return Record(self.changelog.topic.name, MARK.encode(), _MARKS.encode(mark), partition=self.partition)

    # --- restore -----------------------------------------------------------------------------------------------------

    def restore(self, key: bytes | None, value: bytes | None) -> None:
        """Take over one record of the changelog, in the order of the log; only the last of each key is looked at."""
        name = key or b""
        self._restoring.pop(name, None)  # so that the newest change stands last
        if value is not None:
            self._restoring[name] = value

    def restored(self, *, expected: bool) -> None:
        """Check that what was restored is what was last written; `expected` when the stage has committed before.

        Raises:
            StateLost: records are missing, something else was written there, or the topic's partitions were changed.
        """
        for key, value in self._restoring.items():
            self._take_over(key.decode(errors="replace"), value)
        self._restoring = {}
        mark, here = self._mark, (len(self._entries), self._digest)
        if mark is None and (expected or self._entries):
            raise StateLost(
                f"{self._place} has {len(self._entries)} entries and no mark, but its stage has committed before: the "
                f"changelog was lost or cut off. {_CHOICE}"
            )
        if mark is None:
            return
        if mark.partitions != self._partitions:
            raise StateLost(
                f"{self._place} was written when the topic had {mark.partitions} partitions; now it has "
                f"{self._partitions}, and jobs would be looked for in the wrong one. Give the topics back what they had"
            )
        if (mark.entries, mark.digest) != here:
            raise StateLost(
                f"{self._place} should hold {mark.entries} entries with digest {mark.digest:014x}, and holds {here[0]} "
                f"with {here[1]:014x}: state and changelog disagree. {_CHOICE}"
            )
        self._clock_ms = mark.clock_ms

    def accept(self) -> tuple[Record, ...]:
        """Take what was restored as the truth, whatever was written last: the records that say so on the changelog.

        What can't be read is removed. Only for an operator who has decided so.
        """
        for key, value in self._restoring.items():
            name = key.decode(errors="replace")
            try:
                self._take_over(name, value)
            except StateLost:
                self._changes[name] = None
        self._restoring = {}
        return (*(record for record in self.changes() if record.key != MARK.encode()), self._marked())

    def _take_over(self, key: str, value: bytes) -> None:
        try:
            if key == MARK:
                self._mark = _MARKS.decode(value)
            else:
                self._set(key, self.changelog.codec.decode(value), value)
        except Unreadable as error:
            raise StateLost(f"{self._place} holds something else than state under the key {key!r}: {error}") from error

    @property
    def _place(self) -> str:
        return f"{self.changelog.topic.name}/{self.partition}"

    def _set(self, key: str, value: V, encoded: bytes) -> None:
        self._unset(key)  # so that the newest change stands last
        hashed = _hash(key, encoded)
        self._entries[key] = (value, hashed)
        self._digest ^= hashed

    def _unset(self, key: str) -> None:
        gone = self._entries.pop(key, None)
        if gone is not None:
            self._digest ^= gone[1]


_CHOICE = (
    "Restore the topic from a copy, or accept what is there as the truth, so that jobs seen before may not be "
    "recognised: penstock state reset"
)


def _hash(key: str, encoded: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(b"%b\0%b" % (key.encode(), encoded), digest_size=7).digest())

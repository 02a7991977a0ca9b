"""The memory broker: the ports of this room without Kafka, for tests and for trying a workflow.

Partitions, groups, commits with metadata, atomic batches and assignments that can be revoked behave as on Kafka;
nothing survives the process.
"""

import asyncio
import itertools
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from streams.assignment import Assignment
from streams.batch import Batch
from streams.commit_metadata import decode, encode
from streams.errors import SlotTaken
from streams.records import Address, Delivery, Raw, Record
from streams.source import Releases
from streams.state import Changelog, PartitionState
from streams.topics import BY_SLOT, PARTITIONS

Place = tuple[str, int]


@dataclass
class MemoryBroker:
    """Topics as lists of records, and what each group has committed."""

    partitions: int = PARTITIONS
    logs: dict[Place, list[tuple[int, Raw]]] = field(default_factory=lambda: defaultdict(list))
    commits: dict[str, dict[Place, tuple[int, str]]] = field(default_factory=lambda: defaultdict(dict))
    owners: dict[str, object] = field(default_factory=dict)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    _unkeyed: "itertools.count[int]" = field(default_factory=itertools.count)

    def append(self, record: Record, slot: int = 0) -> Address:
        """Append a record: by key as librdkafka does (CRC-32), shared topics by slot."""
        if record.partition is not None:
            partition = record.partition
        elif record.topic in BY_SLOT:
            partition = slot % self.partitions
        elif record.key is None:
            partition = next(self._unkeyed) % self.partitions
        else:
            partition = zlib.crc32(record.key) % self.partitions
        log = self.logs[record.topic, partition]
        log.append((int(time.time() * 1000), Raw(record.key, record.value, record.headers)))
        self.wake.set()
        return Address(record.topic, partition, len(log) - 1)

    def records(self, topic: str) -> list[Raw]:
        """Everything on a topic, partition by partition."""
        return [raw for partition in range(self.partitions) for _, raw in self.logs[topic, partition]]

    async def changed(self) -> None:
        """Wait until something is appended after this call."""
        self.wake.clear()
        await self.wake.wait()


class MemorySource:
    """All partitions of some topics for one group."""

    def __init__(
        self,
        broker: MemoryBroker,
        group: str,
        topics: Sequence[str],
        changelog: Changelog[Any] | None = None,
        concurrency: int = 16,
    ) -> None:
        self.group = group
        self.releases: Releases | None = None
        self._broker = broker
        self._changelog = changelog
        self._concurrency = concurrency
        self._places = [(topic, partition) for topic in topics for partition in range(broker.partitions)]
        self._stopped = False
        self._assignments: dict[Place, Assignment] = {}
        self._left_unread: set[Assignment] = set()
        self._next: dict[Place, int] = {}
        self.assign()

    def assign(self) -> None:
        """Take all partitions anew, at what the group has committed: what a rebalance does."""
        self.revoke()
        for topic, partition in self._places:
            assignment = Assignment(topic, partition)
            self._next[topic, partition] = 0
            assignment.begin_at(0)
            if (topic, partition) in self._broker.commits[self.group]:
                position = decode(*self._broker.commits[self.group][topic, partition])
                assignment.restore(position, self._concurrency, len(self._broker.logs[topic, partition]))
                self._next[topic, partition] = position.base
            self._assignments[topic, partition] = assignment
        if self._changelog is not None:
            self._restore(self._changelog)

    def _restore(self, changelog: Changelog[Any]) -> None:
        for partition in range(self._broker.partitions):
            state = PartitionState(changelog, partition, self._broker.partitions)
            for _, raw in self._broker.logs[changelog.topic.name, partition]:
                state.restore(raw.key, raw.value)
            together = [one for (_, number), one in self._assignments.items() if number == partition]
            committed = any((one.topic, partition) in self._broker.commits[self.group] for one in together)
            state.restored(expected=committed)
            for assignment in together:
                assignment.state = state

    def revoke(self) -> None:
        """Lose all partitions: outcomes of these assignments count no more."""
        for assignment in self._assignments.values():
            assignment.live = False

    def located(self) -> Sequence[Assignment]:
        """The assignments whose beginning is known."""
        return tuple(assignment for assignment in self._assignments.values() if assignment.live)

    async def take(self, limit: int) -> Sequence[Delivery]:
        """Wait for at least one delivery and return up to `limit`; nothing only when the source was stopped."""
        while not self._stopped:
            if found := list(itertools.islice(self._available(), limit)):
                return found
            await self._broker.changed()
        return ()

    def _available(self) -> Iterator[Delivery]:
        for place in self._places:
            assignment = self._assignments[place]
            log = self._broker.logs[place]
            while assignment.live and assignment not in self._left_unread and self._next[place] < len(log):
                offset = self._next[place]
                self._next[place] = offset + 1
                yield Delivery(Address(*place, offset), log[offset][0], log[offset][1], assignment)

    def pause(self, assignment: Assignment) -> None:
        """Deliver nothing more of this assignment."""
        self._left_unread.add(assignment)

    def resume(self, assignment: Assignment) -> None:
        """Deliver it again, from where it was left."""
        self._left_unread.discard(assignment)
        self._broker.wake.set()

    async def stop(self) -> None:
        """Take nothing more; a waiting `take` returns."""
        self._stopped = True
        self._broker.wake.set()

    async def close(self) -> None:
        """Give the assignments back."""
        await self.stop()
        self.revoke()


class MemoryPublisher:
    """Commits batches to the memory broker; a later publisher of the same name fences an earlier one."""

    def __init__(self, broker: MemoryBroker, name: str, slot: int = 0) -> None:
        self._broker = broker
        self._name = name
        self._slot = slot

    async def open(self) -> None:
        """Take the slot."""
        self._broker.owners[self._name] = self

    async def commit(self, batch: Batch) -> None:
        """Append and commit in one step: nothing else runs in between.

        Raises:
            SlotTaken: a later publisher of this name was opened.
        """
        if self._broker.owners.get(self._name) is not self:
            raise SlotTaken(f"{self._name} was opened again: another process runs in this slot")
        owned = batch.owned()
        for record in owned.records():
            self._broker.append(record, self._slot)
        for commit in owned.commits:
            for assignment, position in commit.positions.items():
                place = (assignment.topic, assignment.partition)
                self._broker.commits[commit.source.group][place] = (position.base, encode(position))

    async def close(self) -> None:
        """Let go of the slot."""

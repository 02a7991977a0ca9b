"""Waiting: a record of a tier is held until it is due, or for as long as its tier holds records, and then put back.

Waiting is no attempt and costs nothing but memory, so partitions are held one by one: one that is full of waiting
records is not read on until some of them have gone, and the others do not notice.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from schemas.avro import Unreadable
from streams.assignment import Assignment
from streams.dispatch import dead_letter
from streams.header_names import DUE, RETURN_TOPIC, header_int
from streams.records import Delivery, Emission, Finished
from streams.source import Source
from streams.stage import Sleep
from streams.tiers import Tier, tier_for
from streams.transactions import Transactions
from streams.wire import returning_record, waiting_on
from streams.work import moment_of

HELD = 300
"""Records of a partition that are held in memory at once; its commit's metadata must name each that is not finished."""
HELD_BYTES = 8 * 1024 * 1024
"""Bytes of a partition that are held at once; one that is larger is held alone."""


LOOK_S = 1.0
"""Seconds that a record is held before it is put off again, whatever the clocks of several machines say."""


class PausableSource(Source, Protocol):
    """A source of which single partitions can be left unread for a while."""

    def pause(self, assignment: Assignment) -> None:
        """Deliver nothing more of this assignment; what is on its way may still come."""
        ...

    def resume(self, assignment: Assignment) -> None:
        """Deliver it again, from where it was left."""
        ...


@dataclass(frozen=True)
class DelayWork:
    """Holds a waiting record until it is due, or until its tier's time is over."""

    tier: Tier
    group: str
    worker: str
    sleep: Sleep
    clock: Callable[[], datetime]

    async def __call__(self, delivery: Delivery) -> Emission:
        """The returning record if it is due, else the same in the tier that fits what is left of its wait."""
        taken_at = self.clock()
        now_s = taken_at.timestamp()
        due_s = header_int(delivery.raw.headers, DUE, delivery.timestamp_ms) / 1000
        look_s = min(delivery.timestamp_ms / 1000, now_s) + self.tier.longest_s
        if (wait_s := min(due_s, max(look_s, now_s + LOOK_S)) - now_s) > 0:
            await self.sleep(wait_s)
        if (back := returning_record(delivery)) is None:
            homeless = Unreadable(f"a waiting record must name where it returns to in the header {RETURN_TOPIC}")
            moment = moment_of(delivery, taken_at, self.clock(), 0.0, self.worker, -1)
            return dead_letter("delays", self.group, delivery, homeless, moment)
        if (left_s := due_s - self.clock().timestamp()) > 0:
            return Emission((waiting_on(delivery, tier_for(left_s)),))
        return Emission((back,))


@dataclass
class _Held:
    """What is held of one partition."""

    count: int = 0
    size: int = 0
    paused: bool = False


@dataclass
class DelayRunner:
    """Holds the records of one tier, each partition up to its own bounds."""

    name: str
    source: PausableSource
    work: DelayWork
    transactions: Transactions
    _held: dict[Assignment, _Held] = field(default_factory=dict)

    async def run(self) -> None:
        """Take and hold until the source is stopped, then wait for what is held.

        Raises:
            ExceptionGroup: `work` itself failed; what it was holding stays where it is.
        """
        async with asyncio.TaskGroup() as tasks:
            while deliveries := await self.source.take(HELD):
                for delivery in deliveries:
                    if delivery.assignment.start(delivery.address.offset):
                        self._hold(delivery)
                        tasks.create_task(self._finish(delivery))

    async def release(self, assignments: Iterable[Assignment] | None = None) -> None:
        """Nothing is noted of partitions whose records only wait, so there is nothing to let go of."""

    def _hold(self, delivery: Delivery) -> None:
        held = self._held.setdefault(delivery.assignment, _Held())
        held.count += 1
        held.size += len(delivery.raw.value or b"")
        if not held.paused and (held.count >= HELD or held.size >= HELD_BYTES):
            held.paused = True
            self.source.pause(delivery.assignment)

    async def _finish(self, delivery: Delivery) -> None:
        emission = await self.work(delivery)
        self.transactions.add(self.source, Finished(delivery, emission), lambda: self._let_go(delivery))

    def _let_go(self, delivery: Delivery) -> None:
        held = self._held[delivery.assignment]
        held.count -= 1
        held.size -= len(delivery.raw.value or b"")
        if held.paused and held.count <= HELD // 2 and held.size <= HELD_BYTES // 2:
            held.paused = False
            self.source.resume(delivery.assignment)
        if held.count == 0 and not delivery.assignment.live:
            del self._held[delivery.assignment]

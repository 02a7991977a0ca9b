"""The loop of a stage: take, work on many at once, hand what is finished to the transactions. Knows no Kafka client."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from streams import metrics
from streams.assignment import Assignment
from streams.errors import NoLongerOurs
from streams.pressure import Gate
from streams.quarantine import Quarantine, Suspect
from streams.records import Address, Delivery, Emission, Finished, Raw
from streams.source import Source
from streams.transactions import Transactions

Work = Callable[[Delivery], Awaitable[Emission]]
Tick = Callable[[Assignment], Emission | None]
"""What the passing of time causes in a partition, if anything."""

TICK_S = 1.0

NOTHING = Raw(None, None)
MAX_BYTES = 64 * 1024 * 1024
"""Bytes of records that a stage has in work at most; one that is larger still runs."""


@dataclass
class Runner:
    """Runs `work` on up to `concurrency` deliveries at once; a slot is free again when its outcome is committed.

    With `in_order` each is finished before the next begins; `in_place` says the same of deliveries whose work waits for
    nothing, since a task of its own costs ten times what a call does. `give_up` makes of a record what is left when it
    has ended the process too often. Without a quarantine nothing waits for suspects, and nothing is suspected. While
    the gate is shut nothing is taken. `tick` is asked every second of each partition.
    """

    name: str
    source: Source
    work: Work
    transactions: Transactions
    concurrency: int
    in_order: bool = False
    in_place: Callable[[Delivery], bool] | None = None
    give_up: Work | None = None
    quarantine: Quarantine | None = None
    gate: Gate | None = None
    tick: Tick | None = None
    in_flight: int = 0
    bytes_in_flight: int = 0
    _at_work: int = 0
    _slot_free: asyncio.Event = field(default_factory=asyncio.Event)
    _begun: set[Assignment] = field(default_factory=set)

    async def run(self) -> None:
        """Take and start until the source is stopped, then wait for what is in flight.

        Raises:
            ExceptionGroup: `work` itself failed; what it was working on stays uncommitted.
        """
        self.source.releases = self.release
        async with asyncio.TaskGroup() as tasks:
            ticking = tasks.create_task(self._tick_on()) if self.tick is not None else None
            while True:
                while self.in_flight >= self.concurrency or self.bytes_in_flight >= MAX_BYTES:
                    self._slot_free.clear()
                    await self._slot_free.wait()
                if self.gate is not None:
                    await self.gate.passable()
                deliveries = await self.source.take(self.concurrency - self.in_flight)
                metrics.TAKEN.labels(self.name.partition(".")[0]).inc(len(deliveries))
                if not deliveries:
                    if ticking is not None:
                        ticking.cancel()
                    return
                # 1. whoever begins says so, before anything of it starts; 2. start
                await self._begin({delivery.assignment: None for delivery in deliveries})
                for delivery in deliveries:
                    # False: its outcome was committed before this process took the partition over.
                    if delivery.assignment.start(delivery.address.offset):
                        await self._start(delivery, tasks)

    async def _tick_on(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for assignment in self.source.located():
                await self._begin({assignment: None})
                # From here to `add` nothing else runs, so that changes of a state are committed in their order.
                emission = self.tick(assignment) if self.tick is not None and assignment.live else None
                if emission is not None:
                    passed = Delivery(Address(assignment.topic, assignment.partition, -1), 0, NOTHING, assignment)
                    self.transactions.add(self.source, Finished(passed, emission), lambda: None)

    async def release(self, assignments: Iterable[Assignment] | None = None) -> None:
        """Let go of assignments, all unless some are named, in good order: nobody need wonder why this owner ended."""
        begun = self._begun if assignments is None else self._begun.intersection(assignments)
        self._begun = self._begun - begun
        for assignment in begun:
            assignment.release()
        await self.transactions.note(self.source, begun)

    def free(self, topic: str, key: bytes) -> Assignment | None:
        """The partition where records of this key belong, if it has begun here and nothing is being worked on.

        What changes its state between this answer and `transactions.add`, without waiting for anything, is in order.
        """
        if self._at_work:
            return None
        begun = (one for one in self._begun if one.topic == topic and one.live)
        return next((one for one in begun if one.state is not None and one.state.is_place_of(key)), None)

    async def _begin(self, assignments: dict[Assignment, None]) -> None:
        new = [assignment for assignment in assignments if assignment not in self._begun]
        if new:
            await self.transactions.note(self.source, new)
            self._begun = {assignment for assignment in self._begun if assignment.live}.union(new)

    async def _start(self, delivery: Delivery, tasks: asyncio.TaskGroup) -> None:
        self.in_flight += 1
        self.bytes_in_flight += len(delivery.raw.value or b"")
        if self.quarantine is not None and delivery.assignment.suspects(delivery.address.offset):
            self.quarantine.add(self._suspect(delivery))
            return
        if self.quarantine is not None:
            await self.quarantine.enter()
        if self.in_order or (self.in_place is not None and self.in_place(delivery)):
            await self._finish(delivery, self.work)
        else:
            tasks.create_task(self._finish(delivery, self.work))

    def _suspect(self, delivery: Delivery) -> Suspect:
        run = functools.partial(self._finish_suspect, delivery)
        note = functools.partial(self.transactions.note, self.source, (delivery.assignment,))
        return Suspect(delivery.assignment, run, note)

    async def _finish(self, delivery: Delivery, work: Work) -> None:
        await self._work_on(delivery, work, functools.partial(self._release, delivery))

    async def _work_on(self, delivery: Delivery, work: Work, committed: Callable[[], None]) -> None:
        self._at_work += 1
        try:
            emission = await work(delivery)
        except NoLongerOurs:
            committed()
        else:
            self.transactions.add(self.source, Finished(delivery, emission), committed)
        finally:
            self._at_work -= 1

    async def _finish_suspect(self, delivery: Delivery, done: Callable[[], None]) -> None:
        condemned = self.give_up is not None and delivery.assignment.condemns(delivery.address.offset)

        def committed() -> None:
            self._free(delivery)
            done()

        await self._work_on(delivery, self.give_up if condemned and self.give_up else self.work, committed)

    def _release(self, delivery: Delivery) -> None:
        self._free(delivery)
        if self.quarantine is not None:
            self.quarantine.leave()

    def _free(self, delivery: Delivery) -> None:
        self.in_flight -= 1
        self.bytes_in_flight -= len(delivery.raw.value or b"")
        self._slot_free.set()

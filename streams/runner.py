"""The loop of a stage: take, work on many at once, hand what is finished to the transactions. Knows no Kafka client."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from streams.records import Delivery, Emission, Finished
from streams.source import Source
from streams.transactions import Transactions

Work = Callable[[Delivery], Awaitable[Emission]]


@dataclass
class Runner:
    """Runs `work` on up to `concurrency` deliveries at once; a slot is free again when its outcome is committed."""

    name: str
    source: Source
    work: Work
    transactions: Transactions
    concurrency: int
    in_flight: int = 0
    _slot_free: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Take and start until the source is stopped, then wait for what is in flight.

        Raises:
            ExceptionGroup: `work` itself failed; what it was working on stays uncommitted.
        """
        async with asyncio.TaskGroup() as tasks:
            while True:
                while self.in_flight >= self.concurrency:
                    self._slot_free.clear()
                    await self._slot_free.wait()
                deliveries = await self.source.take(self.concurrency - self.in_flight)
                if not deliveries:
                    return
                for delivery in deliveries:
                    # False: its outcome was committed before this process took the partition over.
                    if delivery.assignment.start(delivery.address.offset):
                        self.in_flight += 1
                        tasks.create_task(self._finish(delivery))

    async def _finish(self, delivery: Delivery) -> None:
        emission = await self.work(delivery)
        self.transactions.add(self.source, Finished(delivery, emission), self._release)

    def _release(self) -> None:
        self.in_flight -= 1
        self._slot_free.set()

"""Waiting records: each partition is held on its own, and nothing that waits is lost when it has nowhere to go."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from streams.delays import HELD, DelayRunner, DelayWork
from streams.header_names import DUE, RETURN_TOPIC
from streams.memory import MemoryBroker, MemoryPublisher, MemorySource
from streams.records import Record
from streams.tiers import TIERS
from streams.transactions import Transactions

SHORT = TIERS[0]


class Clock:
    """A clock that the test moves."""

    def __init__(self):
        self.added, self.moved = timedelta(), asyncio.Event()

    def __call__(self):
        return datetime.now(UTC) + self.added

    def move(self, seconds):
        self.added += timedelta(seconds=seconds)
        self.moved.set()
        self.moved = asyncio.Event()

    async def sleep(self, seconds):
        until = self() + timedelta(seconds=seconds)
        while self() < until:
            await self.moved.wait()


class Delays:
    """One tier on the memory broker."""

    def __init__(self, clock):
        self.broker, self.clock = MemoryBroker(), clock
        self.source = MemorySource(self.broker, SHORT.name, [SHORT.topic.name])
        self.publisher = MemoryPublisher(self.broker, "w")

    async def run(self):
        await self.publisher.open()
        transactions = Transactions(self.publisher)
        work = DelayWork(SHORT, SHORT.name, "w", self.clock.sleep, self.clock)
        self.runner = DelayRunner(SHORT.name, self.source, work, transactions)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.runner.run())
            tasks.create_task(transactions.run())

    def put(self, partition, due_in_s, value=b"v", returns_to=b"routed"):
        due = int((self.clock() + timedelta(seconds=due_in_s)).timestamp() * 1000)
        headers = ((RETURN_TOPIC, returns_to), (DUE, b"%d" % due))
        self.broker.append(Record(SHORT.topic.name, b"k", value, headers, partition=partition))

    async def until(self, condition):
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 -- it may be about what is held, which tells nobody
                await asyncio.sleep(0)


@pytest.fixture
async def delays():
    """A tier that runs until the test ends."""
    made = Delays(Clock())
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_full_partition_does_not_hold_up_another(delays):
    """One is left unread while it is full of waiting records; one that is due in another returns at once."""
    for _ in range(3 * HELD):
        delays.put(partition=0, due_in_s=8, value=b"late")
    await delays.until(lambda: sum(held.count for held in delays.runner._held.values()) >= HELD)
    delays.put(partition=1, due_in_s=0, value=b"now")
    await delays.until(lambda: [raw.value for raw in delays.broker.records("routed")] == [b"now"])
    assert sum(held.count for held in delays.runner._held.values()) <= 2 * HELD
    delays.clock.move(9)
    await delays.until(lambda: len(delays.broker.records("routed")) == 3 * HELD + 1)


async def test_a_partition_is_also_full_of_bytes(delays):
    """Few large records are as much as many small ones."""
    for _ in range(20):
        delays.put(partition=2, due_in_s=8, value=bytes(1024 * 1024))
    await delays.until(lambda: any(held.paused for held in delays.runner._held.values()))
    delays.clock.move(9)
    await delays.until(lambda: len(delays.broker.records("routed")) == 20)


@pytest.mark.parametrize("nowhere", [b"", b"results", b"\xff", b"dead-letters"])
async def test_a_record_without_a_way_back_is_a_dead_letter(delays, nowhere):
    """It may return only to what stages read; anything else is given up on, with the reason."""
    delays.put(partition=0, due_in_s=0, returns_to=nowhere)
    await delays.until(lambda: delays.broker.records("dead-letters"))
    (letter,) = delays.broker.records("dead-letters")
    assert b"penstock-return-topic" in dict(letter.headers)["__dlq.errors.message"]

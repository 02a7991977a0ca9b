"""A partition that goes to another member in good order waits for what is in work: no call is paid for twice."""

import asyncio
import threading

import pytest

from streams.assignment import Assignment
from streams.kafka import leaving
from streams.kafka.source import KafkaSource
from streams.records import Record
from tests.contract.streams.conftest import KafkaHarness

pytestmark = pytest.mark.stack

KEYS = [b"%d" % number for number in range(40)]


@pytest.fixture
async def broker(stack):
    """The embedded Kafka under a prefix of its own."""
    made = KafkaHarness(stack.broker)
    yield made
    await made.close()


async def at_work(broker):
    """A source that owns all partitions, each with a record in work, and a second member that has just come."""
    await broker.put(*(Record("in", key, key) for key in KEYS))
    first = member(broker, "a.0")
    first.releases = broker_noted
    started = {}
    while len(started) < 6:
        for delivery in await first.take(100):
            if delivery.assignment.start(delivery.address.offset):
                started.setdefault(delivery.assignment, []).append(delivery.address.offset)
    return started, member(broker, "b.0")


async def broker_noted(_):
    """Nothing need be noted here."""


def member(broker, name):
    source = KafkaSource(broker.connection, "stage", ["in"], name, threading.Lock())
    broker.opened.append(source)
    return source


async def until(condition):
    while not condition():  # noqa: ASYNC110 -- another thread changes it
        await asyncio.sleep(0.02)


async def test_a_partition_leaves_when_what_is_in_work_has_ended(broker, monkeypatch):
    """The second member gets nothing while the first works on everything, and its share as soon as that has ended."""
    monkeypatch.setattr(leaving, "FINISH_S", 60.0)
    asked = threading.Event()
    started, second = await at_work(broker)
    waiting = asyncio.create_task(second.take(1))
    busy = Assignment.busy
    monkeypatch.setattr(Assignment, "busy", property(lambda one: asked.set() or busy.fget(one)))
    async with asyncio.timeout(60):
        await until(asked.is_set)  # the first was told to let go, and looks whether it may
        assert all(assignment.live for assignment in started)
        assert not waiting.done()
        for assignment, offsets in started.items():
            for offset in offsets:
                assignment.finish(offset)
        await until(lambda: sum(not assignment.live for assignment in started) == 3)
        await waiting


async def test_work_without_an_end_keeps_a_partition_for_a_while_only(broker, monkeypatch):
    """What does not end in time is left to the next owner."""
    monkeypatch.setattr(leaving, "FINISH_S", 0.5)
    started, second = await at_work(broker)
    async with asyncio.timeout(60):
        await second.take(1)
    assert sum(not assignment.live for assignment in started) == 3
    assert all(assignment.busy for assignment in started)

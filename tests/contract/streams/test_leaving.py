"""A partition that goes to another member in good order waits for what is in work: no call is paid for twice."""

import asyncio
import threading

import pytest

from streams.assignment import Assignment
from streams.kafka import leaving
from streams.records import Record

pytestmark = pytest.mark.stack

KEYS = [b"%d" % number for number in range(40)]


async def at_work(kafka):
    """A source that owns all partitions, each with a record in work, and a second member that has just come."""
    await kafka.put(*(Record("in", key, key) for key in KEYS))
    first = await kafka.source()
    first.releases = nothing_to_note
    started = {}
    while len(started) < 6:
        for delivery in await first.take(100):
            if delivery.assignment.start(delivery.address.offset):
                started.setdefault(delivery.assignment, []).append(delivery.address.offset)
    return started, await kafka.source(member=1)


async def nothing_to_note(_):
    """Nothing need be noted here."""


async def until(condition):
    while not condition():  # noqa: ASYNC110 -- another thread changes it
        await asyncio.sleep(0.02)


async def test_a_partition_leaves_when_what_is_in_work_has_ended(kafka, monkeypatch):
    """The second member gets nothing while the first works on everything, and its share as soon as that has ended."""
    monkeypatch.setattr(leaving, "FINISH_S", 60.0)
    asked = threading.Event()
    started, second = await at_work(kafka)
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


async def test_work_without_an_end_keeps_a_partition_for_a_while_only(kafka, monkeypatch):
    """What does not end in time is left to the next owner."""
    monkeypatch.setattr(leaving, "FINISH_S", 0.5)
    started, second = await at_work(kafka)
    async with asyncio.timeout(60):
        await second.take(1)
    assert sum(not assignment.live for assignment in started) == 3
    assert all(assignment.busy for assignment in started)

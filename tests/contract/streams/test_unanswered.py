"""A broker that does not answer a commit: the slot is taken anew, and nothing is lost or twice."""

import asyncio

import pytest

from streams import fail_points
from streams.batch import batch_of
from streams.records import Emission, Finished, Record

pytestmark = pytest.mark.stack

AWAY_S = 6.0  # the harness's transactions time out after 2 s


async def test_a_commit_without_an_answer_is_given_up_and_found_out(kafka, stack, monkeypatch):
    """The broker is frozen just before a commit, for longer than a transaction may last: each outcome comes once."""
    await kafka.put(*(Record("in", b"%d" % number, b"%d" % number) for number in range(20)))
    source, publisher = await kafka.source(), await kafka.publisher()
    finished = []
    while len(finished) < 20:
        for delivery in await source.take(100):
            if delivery.assignment.start(delivery.address.offset):
                out = Record("out", delivery.raw.key, delivery.raw.value)
                finished.append((source, Finished(delivery, Emission((out,)))))
    loop, thaw = asyncio.get_running_loop(), []

    def freeze(point):
        if not thaw:
            stack.pause("broker")
            thaw.append(loop.call_soon_threadsafe(loop.call_later, AWAY_S, stack.resume, "broker"))

    monkeypatch.setattr(fail_points, "reach", freeze)
    async with asyncio.timeout(90):
        await publisher.commit(batch_of(finished))
    found = await kafka.committed("out", 20)
    assert sorted(raw.value for raw in found) == sorted(b"%d" % number for number in range(20))
    assert thaw

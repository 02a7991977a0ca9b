"""A broker that does not answer a commit: the slot is taken anew, and nothing is lost or twice."""

import asyncio
from dataclasses import replace

import pytest

from streams import fail_points
from streams.batch import batch_of
from streams.records import Emission, Finished, Record

pytestmark = pytest.mark.stack

AWAY_S = 6.0  # the harness's transactions time out after 2 s


async def test_a_commit_that_moves_no_position_is_told_from_the_one_before(kafka, monkeypatch):
    """What passing time causes moves nothing: that the same position is there already does not make it committed."""
    await kafka.put(Record("in", b"k", b"first"))
    source, publisher = await kafka.source(), await kafka.publisher()
    (delivery,) = await source.take(1)
    assert delivery.assignment.start(delivery.address.offset)
    await publisher.commit(batch_of([(source, Finished(delivery, Emission((Record("out", b"k", b"first"),))))]))
    passed = replace(delivery, address=replace(delivery.address, offset=-1))
    fenced = []

    def fence(point):
        if not fenced:  # as a successor does that ends again: what was open is aborted
            fenced.append(kafka.connection.transactional_producer(publisher._transactional_id))
            fenced[0].init_transactions()

    monkeypatch.setattr(fail_points, "reach", fence)
    monkeypatch.setattr(publisher, "_opened_at", 0.0)  # long ago: else another process would seem to run in the slot
    async with asyncio.timeout(60):
        await publisher.commit(batch_of([(source, Finished(passed, Emission((Record("out", b"k", b"later"),))))]))
    assert sorted(raw.value for raw in await kafka.committed("out", 2)) == [b"first", b"later"]
    assert fenced


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

"""A consumer that the kafka fences off is made anew; one that is fenced off again at once has a rival."""

import asyncio

import pytest

from streams.errors import StreamsError
from streams.kafka import renewal
from streams.records import Record

pytestmark = pytest.mark.stack

MEMBER = "stage.0"


async def fenced_off(kafka):
    """A source that has delivered, and whose name another consumer has taken since; that one is gone again."""
    await kafka.put(Record("in", b"k", b"first"))
    source = await kafka.source()
    (delivery,) = await source.take(1)
    assert delivery.raw.value == b"first"
    rival = kafka.connection.consumer(source.group, MEMBER)
    rival.subscribe([kafka.connection.topic("in")])
    while not await asyncio.to_thread(rival.assignment):
        await asyncio.to_thread(rival.poll, 0.1)
    await asyncio.to_thread(rival.close)
    return source


async def test_a_source_whose_consumer_was_fenced_off_goes_on_with_another(kafka, monkeypatch):
    """A kafka's restart does this to a member that has no rival: it must not stand still for ever."""
    monkeypatch.setattr(renewal, "AGAIN_S", 0)
    source = await fenced_off(kafka)
    await kafka.put(Record("in", b"k", b"second"))
    taken = []
    async with asyncio.timeout(60):  # what the old consumer still delivers is of an assignment that is no more
        while [one.raw.value for one in taken if one.assignment.live] != [b"first", b"second"]:
            taken.extend(await source.take(1))
    assert taken[-1].assignment is not taken[0].assignment


async def test_a_source_with_a_rival_ends_and_says_what_to_do(kafka):
    """Two processes under one name would take the name from each other for ever."""
    source = await fenced_off(kafka)
    with pytest.raises(StreamsError, match=r"failed for good .* PENSTOCK_INSTANCE"):
        async with asyncio.timeout(60):
            await source.take(1)

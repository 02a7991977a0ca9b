"""Answers that are read while they are being written, by both kinds of client."""

import asyncio
import threading

import pytest

from penstock.client import Client, Delta, JobResult, NoResult, SyncClient
from schemas.base import json_text


async def collected(client, kind, **more):
    """Everything that a stream gives."""
    if kind is Client:
        return [item async for item in client.stream("w", 1, job_id="j1", **more)]
    return await asyncio.to_thread(lambda: list(client.stream("w", 1, job_id="j1", **more)))


@pytest.fixture(params=[Client, SyncClient])
async def client(request, opened):
    """A client of each kind, and its kind."""
    made = opened(request.param)
    if request.param is Client:
        async with made:
            yield made, Client
    else:
        with made:
            yield made, SyncClient


async def published(broker):
    async with asyncio.timeout(10):
        while not broker.published:  # noqa: ASYNC110 -- the condition is the broker's, which knows no loop
            await asyncio.sleep(0.001)


async def seen(broker):
    """The client has taken all pieces that were written: whoever reads again has handed over what was read before."""
    async with asyncio.timeout(10):
        while broker.deltas.records:  # noqa: ASYNC110 -- as above
            await asyncio.sleep(0.001)
        reads = broker.deltas.reads
        while broker.deltas.reads == reads:  # noqa: ASYNC110 -- as above
            await asyncio.sleep(0.001)


def shape(items):
    return [item.text if isinstance(item, Delta) else item.status for item in items]


async def test_the_pieces_come_and_then_the_result(broker, client):
    """Each piece as it was written, the last word of the pipeline, and the result, which ends it."""
    coming = asyncio.create_task(collected(*client))
    await published(broker)
    for n, text in enumerate(("I am", " here")):
        broker.write(text, seq=n)
    broker.write("", status="accepted", accepted=True)
    await seen(broker)
    broker.end("j1", output=json_text("I am here"))
    items = await coming
    assert shape(items) == ["I am", " here", "", "accepted"]
    assert items[2].accepted is True
    assert b'"stream":true' in broker.published[0][1]


async def test_a_result_that_overtakes_waits_a_moment_for_the_last_pieces(broker, client):
    """Results and pieces travel apart: what was being read comes whole although the result is there already."""
    coming = asyncio.create_task(collected(*client))
    await published(broker)
    broker.write("I am")
    await seen(broker)
    broker.end("j1")
    threading.Timer(0.05, lambda: (broker.write(" here", seq=1), broker.write("", status="accepted"))).start()
    assert shape(await coming) == ["I am", " here", "", "accepted"]


async def test_without_pieces_the_result_comes_at_once(broker, client):
    """A workflow that shows nothing before it is checked costs its users no time."""
    coming = asyncio.create_task(collected(*client, tenant="default"))
    await published(broker)
    broker.write("not yours", job_id="j2")
    broker.write("nor yours", tenant="another")
    await seen(broker)
    broker.end("j1")
    began = asyncio.get_running_loop().time()
    (only,) = await coming
    assert isinstance(only, JobResult)
    assert asyncio.get_running_loop().time() - began < 5


async def test_a_lost_last_word_holds_up_nothing(broker, client):
    """Pieces may be lost; the result ends the stream all the same."""
    coming = asyncio.create_task(collected(*client))
    await published(broker)
    broker.write("I am")
    await seen(broker)
    broker.end("j1")
    assert shape(await coming) == ["I am", "accepted"]


async def test_what_is_no_piece_is_left_out(broker, client):
    """A corrupt record on the topic of pieces hurts nobody who reads it."""
    coming = asyncio.create_task(collected(*client))
    await published(broker)
    broker.write("bad")
    read = broker.deltas.records.pop()
    broker.deltas.records.append(type(read)(read.address, type(read.raw)(b"j1", b"\xff{"), 0))
    broker.write("good")
    broker.write("", status="accepted")
    broker.end("j1")
    assert shape(await coming)[-1] == "accepted"
    assert "bad" not in shape(await coming)


@pytest.mark.usefixtures("broker")
async def test_a_job_that_does_not_end_in_time_is_told(client):
    """No result within the time: the error says that the job goes on."""
    with pytest.raises(NoResult, match="j1"):
        await collected(*client, timeout_s=0.05)

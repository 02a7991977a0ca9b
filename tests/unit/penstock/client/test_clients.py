import asyncio
import threading

import pytest

from penstock.client import (
    BrokerAway,
    Client,
    ClientClosed,
    InvalidJob,
    NoResult,
    NotAcknowledged,
    SyncClient,
    aio,
    sync,
)
from penstock.local.ports import free_port
from schemas.stages import Status


async def until(condition):
    """Let the loop run until the condition holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 -- the condition is the broker's, which knows no loop
            await asyncio.sleep(0)


async def test_submit_returns_what_the_broker_acknowledged(broker, opened):
    """The receipt names where the job lies, and the record is on the topic of jobs."""
    async with opened(Client) as client:
        receipt = await client.submit("w", {"text": "x"}, job_id="j1", tenant="t")
    assert (receipt.job_id, receipt.topic, receipt.offset) == ("j1", "jobs", 0)
    assert broker.published[0][0] == "jobs"
    assert broker.published[0][2] == b"j1"
    assert broker.closed == 2


async def test_submit_and_wait_returns_the_result(broker, opened):
    """With wait the call returns how the job ended."""
    async with opened(Client) as client:
        waiting = asyncio.create_task(client.submit("w", 1, job_id="j1", wait=True))
        await until(lambda: broker.published)
        broker.end("j1")
        assert (await waiting).status == "accepted"


async def test_many_waiters_share_one_reader(broker, opened):
    """A thousand jobs in flight each get their own result, in whatever order they end."""
    async with opened(Client, max_unacknowledged=50) as client:
        waiting = [asyncio.create_task(client.submit("w", n, job_id=f"j{n}", wait=True)) for n in range(1000)]
        await until(lambda: len(broker.published) == 1000)
        for n in reversed(range(1000)):
            broker.end(f"j{n}", output=f'{{"n":{n}}}')
        assert [(await one).output["n"] for one in waiting] == list(range(1000))


async def test_submit_waits_while_too_many_are_unacknowledged(broker, opened):
    """Back-pressure: the third submission is not published before one of the first two is acknowledged."""
    broker.hold = True
    async with opened(Client, max_unacknowledged=2) as client:
        sent = [asyncio.create_task(client.submit("w", n)) for n in range(3)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(broker.published) == 2
        broker.held.pop(0)()
        await until(lambda: len(broker.published) == 3)
        for acknowledge in broker.held:
            acknowledge()
        assert len(await asyncio.gather(*sent)) == 3


async def test_a_refusal_of_the_broker_is_told_with_what_to_do(broker, opened):
    """A record that the broker refuses raises, and its slot is free again."""
    broker.refuse = "Broker: Message size too large"
    async with opened(Client, max_unacknowledged=1) as client:
        for _ in range(2):
            with pytest.raises(NotAcknowledged, match=r"too large.*same job_id"):
                await client.submit("w", 1)


async def test_a_silent_broker_is_not_waited_for_forever(broker, opened, monkeypatch):
    """Without an acknowledgement the caller is told that nothing is known, and that repeating is safe."""
    monkeypatch.setattr(aio, "ACKNOWLEDGE_S", 0.05)
    broker.hold = True
    async with opened(Client) as client:
        with pytest.raises(NotAcknowledged, match="same job_id"):
            await client.submit("w", 1)


async def test_a_late_result_says_how_to_look(broker, opened):
    """A time-out is no failure of the job, and the text says so; nothing of the waiter stays."""
    async with opened(Client) as client:
        with pytest.raises(NoResult, match="penstock trace j1"):
            await client.submit("w", 1, job_id="j1", wait=True, timeout_s=0.02)
        with pytest.raises(TimeoutError):
            await client.wait("j2", 0.02)
        assert not client._link.mailbox._waiting


async def test_results_are_iterated_from_the_opening_on(broker, opened):
    """What came before the iteration began is in it, foreign bytes are left out, and it ends when all is quiet."""
    async with opened(Client) as client:
        broker.end("a")
        await client.wait("a", 5)
        broker.put("results", b"no result")
        broker.escalate("b")
        seen = [(result.job_id, result.open) async for result in client.results(idle_s=0.2)]
    assert seen == [("a", False), ("b", True)]


async def test_a_producer_need_not_read(broker, opened):
    """A client that only publishes starts no reader, and says so when it is asked to wait."""
    async with opened(Client, read_results=False) as client:
        await client.submit("w", 1)
        with pytest.raises(ClientClosed, match="read_results"):
            await client.wait("a", 1)
        with pytest.raises(ClientClosed, match="read_results"):
            await anext(client.results())


async def test_a_client_must_be_open(broker, opened):
    """Before and after its block a client does nothing, and says how to use it."""
    client = opened(Client)
    with pytest.raises(ClientClosed, match="async with"):
        await client.submit("w", 1)
    async with client:
        waiting = asyncio.create_task(client.wait("a", 30))
        await asyncio.sleep(0.02)
    with pytest.raises(ClientClosed, match="closed"):
        await waiting


async def test_an_invalid_job_is_not_published(broker, opened):
    """What can't be a job never reaches the broker."""
    async with opened(Client) as client:
        with pytest.raises(InvalidJob):
            await client.submit("Not A Name", 1)
    assert broker.published == []


def test_the_synchronous_client_does_the_same(broker, opened):
    """Submit, wait and iterate without an event loop."""
    with opened(SyncClient) as client:
        assert client.submit("w", 1, job_id="j1").job_id == "j1"
        threading.Timer(0.02, lambda: broker.end("j1", Status.REJECTED, output=None)).start()
        assert client.wait("j1", 5).status == "rejected"
        threading.Timer(0.02, lambda: broker.end("j2")).start()
        assert client.submit("w", 1, job_id="j2", wait=True).accepted
        assert [result.job_id for result in client.results(idle_s=0.1)] == ["j1", "j2"]
        with pytest.raises(NoResult):
            client.wait("j3", 0.02)


def test_many_submissions_at_once_without_a_loop(broker, opened):
    """`submit_soon` returns before the acknowledgement, and blocks only beyond the limit."""
    broker.hold = True
    with opened(SyncClient, max_unacknowledged=2) as client:
        receipts = [client.submit_soon("w", n) for n in range(2)]
        third = threading.Thread(target=client.submit_soon, args=("w", 3))
        third.start()
        third.join(0.05)
        assert third.is_alive()
        broker.held[0]()
        third.join(5)
        assert not third.is_alive()
        assert receipts[0].result(0).offset == 0
        assert not receipts[1].done()


def test_a_silent_broker_without_a_loop(broker, opened, monkeypatch):
    """The synchronous client is not stuck either."""
    monkeypatch.setattr(sync, "ACKNOWLEDGE_S", 0.05)
    broker.hold = True
    with opened(SyncClient) as client, pytest.raises(NotAcknowledged, match="penstock status"):
        client.submit("w", 1)


async def test_reading_that_breaks_is_told_to_those_who_wait(broker, opened):
    """Nobody waits for results that can't come any more."""

    def read(limit, wait_s):
        raise OSError("the line is dead")

    broker.read = read
    async with opened(Client) as client:
        with pytest.raises(ClientClosed, match="the line is dead"):
            await client.wait("a", 5)


def test_without_a_broker_opening_says_so(monkeypatch):
    """Nothing listens: the client does not open, and the error names the address."""
    monkeypatch.setattr("streams.kafka.clients.TIMEOUT_S", 0.3)
    with pytest.raises(BrokerAway, match=r"127\.0\.0\.1"), SyncClient(f"127.0.0.1:{free_port()}"):
        pass

"""The client for asyncio."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, overload

from penstock.client.job import JobFields, Prepared, prepare
from penstock.client.link import ACKNOWLEDGE_S, Link, Options, Receipt, open_link
from penstock.client.pieces import Following, Item, Watch
from penstock.client.result import JobResult
from penstock.client.words import late_acknowledgement, late_result
from penstock.errors import ClientClosed, NoResult, NotAcknowledged
from penstock.settings import Settings
from schemas.side import Delta

T = TypeVar("T")


class Client:
    """Publishes jobs and hands out their results; an asynchronous context manager, used within one event loop.

    Args:
        broker: host:port of Kafka; by default what the project's settings or the environment say.
        settings: All settings, instead of finding them.
        options: How many may be unacknowledged, how many results are remembered, which topic, whether to read results.

    Raises:
        BrokerAway: on entering: the broker does not answer.
        SettingsError: on entering: a setting is wrong.
    """

    def __init__(
        self, broker: str | None = None, *, settings: Settings | None = None, options: Options | None = None
    ) -> None:
        self._options = options or Options()
        self._open = partial(open_link, settings, broker, self._options)
        self._slots = asyncio.Semaphore(self._options.max_unacknowledged)
        self._link: Link | None = None

    async def __aenter__(self) -> Self:
        self._link = await asyncio.to_thread(self._open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Send what is queued and stop; those who still wait for results get `ClientClosed`."""
        link, self._link = self._link, None
        if link is not None:
            await asyncio.to_thread(link.close)

    @overload
    async def submit(
        self,
        workflow: str,
        input: Any,
        *,
        job_id: str | None = None,
        wait: Literal[False] = False,
        timeout_s: float = 60.0,
        **fields: Unpack[JobFields],
    ) -> Receipt: ...

    @overload
    async def submit(
        self,
        workflow: str,
        input: Any,
        *,
        job_id: str | None = None,
        wait: Literal[True],
        timeout_s: float = 60.0,
        **fields: Unpack[JobFields],
    ) -> JobResult: ...

    async def submit(
        self,
        workflow: str,
        input: Any,  # noqa: A002 -- as above
        *,
        job_id: str | None = None,
        wait: bool = False,
        timeout_s: float = 60.0,
        **fields: Unpack[JobFields],
    ) -> Receipt | JobResult:
        """Publish a job and return when the broker has it, or with `wait` when it has ended or a person must see it.

        Run many at once for throughput; the call waits while too many are unacknowledged.

        Args:
            workflow: What shall be done.
            input: What it shall be done with: any JSON value that the workflow's input schema allows.
            job_id: The job's identity, together with the tenant; random by default. Choose it, so that a repeated
                submission can be recognised: two submissions without one are two jobs.
            wait: Whether to return the result instead of the receipt.
            timeout_s: Seconds to wait for the result after the acknowledgement.
            fields: Whatever else is to be said about the job.

        Raises:
            BrokerAway: the queue towards the broker stays full.
            InvalidJob: the job can't be sent as it is.
            NoResult: it has not ended in time; it goes on.
            NotAcknowledged: the broker refused it, or did not answer.
        """
        link, job = self._linked(), prepare(workflow, input, job_id, fields)
        found = link.expect(job.job_id, job.tenant) if wait else None
        try:
            receipt = await self._acknowledged(job.job_id, await self._publish(link, job))
            return receipt if found is None else await _within(found, timeout_s, job.job_id)
        finally:
            if found is not None:
                link.mailbox.forget(job.job_id, found)

    async def _publish(self, link: Link, job: Prepared) -> "Future[Receipt]":
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        try:
            sent = link.publish(job)
        except BaseException:
            self._slots.release()
            raise
        sent.add_done_callback(lambda _: _call(loop, self._slots))
        return sent

    async def _acknowledged(self, job_id: str, sent: "Future[Receipt]") -> Receipt:
        try:
            async with asyncio.timeout(ACKNOWLEDGE_S):
                return await asyncio.wrap_future(sent)
        except TimeoutError:
            raise NotAcknowledged(late_acknowledgement(job_id, ACKNOWLEDGE_S)) from None

    async def stream(
        self,
        workflow: str,
        input: Any,  # noqa: A002 -- as above
        *,
        job_id: str | None = None,
        timeout_s: float = 60.0,
        **fields: Unpack[JobFields],
    ) -> AsyncIterator[Delta | JobResult]:
        """Publish a job and give its answer while it is being written, then its result, which alone is the truth.

        A piece of another attempt than the one before it takes the place of all text so far. Where the workflow shows
        nothing before it is checked, there are no pieces. Pieces may be lost; the result is not. Raises as `submit`.
        """
        link, job = self._linked(), prepare(workflow, input, job_id, {**fields, "stream": True})
        loop, come = asyncio.get_running_loop(), asyncio.Queue[Item]()

        def comes(item: Item) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody watches any more
                loop.call_soon_threadsafe(come.put_nowait, item)

        watch = Watch(job.job_id, job.tenant, comes)
        await asyncio.to_thread(link.watch, watch)
        found = link.expect(job.job_id, job.tenant)
        try:
            await self._acknowledged(job.job_id, await self._publish(link, job))
            found.add_done_callback(comes)
            following = Following(job.job_id, timeout_s)
            with contextlib.suppress(TimeoutError):
                while not following.over:
                    if piece := following.take(await asyncio.wait_for(come.get(), following.wait_s)):
                        yield piece
            yield following.result()
        finally:
            link.unwatch(watch)
            link.mailbox.forget(job.job_id, found)

    async def wait(self, job_id: str, timeout_s: float = 60.0, *, tenant: str | None = None) -> JobResult:
        """The result of a job that ended after this client was opened, or the escalation with which it waits.

        Raises:
            ClientClosed: the client is closed or reads no results.
            NoResult: it has not ended in time; it goes on.
        """
        link = self._linked()
        found = link.expect(job_id, tenant)
        try:
            return await _within(found, timeout_s, job_id)
        finally:
            link.mailbox.forget(job_id, found)

    async def results(self, *, idle_s: float | None = None) -> AsyncIterator[JobResult]:
        """All results and escalations since this client was opened, as they come, of all producers.

        For a look at the stream; a consumer that must miss nothing over restarts reads `results` with a group of its
        own (docs/publish.md).

        Args:
            idle_s: End after so many seconds without a result; by default never.

        Raises:
            ClientClosed: the client is closed or reads no results.
            ResultsLost: results arrived faster than they were iterated over, beyond what is remembered.
        """
        link, seen = self._linked(), 0
        link.require_reader()
        while True:
            seen, found, arrival = link.mailbox.since(seen)
            for result in found:
                yield result
            if arrival is not None:
                try:
                    async with asyncio.timeout(idle_s):
                        await asyncio.wrap_future(arrival)
                except TimeoutError:
                    return

    def _linked(self) -> Link:
        if self._link is None:
            raise ClientClosed("the client is not open: use it as `async with Client() as client:`")
        return self._link


async def _within(found: "Future[JobResult]", timeout_s: float, job_id: str) -> JobResult:
    try:
        async with asyncio.timeout(timeout_s):
            return await asyncio.wrap_future(found)
    except TimeoutError:
        raise NoResult(late_result(job_id, timeout_s)) from None


def _call(loop: asyncio.AbstractEventLoop, slots: asyncio.Semaphore) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for a slot any more
        loop.call_soon_threadsafe(slots.release)

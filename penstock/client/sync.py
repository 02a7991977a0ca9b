"""The client for programs without an event loop; safe to share between threads."""

import contextlib
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self, Unpack, overload

from penstock.client.job import JobFields, Prepared, prepare
from penstock.client.link import ACKNOWLEDGE_S, Link, Options, Receipt, open_link
from penstock.client.pieces import Following, Item, Watch
from penstock.client.result import JobResult
from penstock.client.words import late_acknowledgement, late_result
from penstock.errors import ClientClosed, NoResult, NotAcknowledged
from penstock.settings import Settings
from schemas.side import Delta


class SyncClient:
    """Publishes jobs and hands out their results; a context manager. Arguments and errors are those of `Client`."""

    def __init__(
        self, broker: str | None = None, *, settings: Settings | None = None, options: Options | None = None
    ) -> None:
        self._options = options or Options()
        self._open = partial(open_link, settings, broker, self._options)
        self._slots = threading.Semaphore(self._options.max_unacknowledged)
        self._link: Link | None = None

    def __enter__(self) -> Self:
        self._link = self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Send what is queued and stop; those who still wait for results get `ClientClosed`."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    @overload
    def submit(
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
    def submit(
        self,
        workflow: str,
        input: Any,
        *,
        job_id: str | None = None,
        wait: Literal[True],
        timeout_s: float = 60.0,
        **fields: Unpack[JobFields],
    ) -> JobResult: ...

    def submit(
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

        One after the other this costs a round trip each; `submit_soon` sends many at once.

        Raises:
            BrokerAway: the queue towards the broker stays full.
            InvalidJob: the job can't be sent as it is.
            NoResult: it has not ended in time; it goes on.
            NotAcknowledged: the broker refused it, or did not answer.
        """
        link, job = self._linked(), prepare(workflow, input, job_id, fields)
        found = link.expect(job.job_id, job.tenant) if wait else None
        try:
            receipt = _acknowledged(job.job_id, self._publish(link, job))
            return receipt if found is None else _within(found, timeout_s, job.job_id)
        finally:
            if found is not None:
                link.mailbox.forget(job.job_id, found)

    def submit_soon(
        self,
        workflow: str,
        input: Any,  # noqa: A002 -- as above
        *,
        job_id: str | None = None,
        **fields: Unpack[JobFields],
    ) -> "Future[Receipt]":
        """Publish a job without waiting for the broker, unless too many are unacknowledged.

        Ask the future for its result before you count the job as published: it raises `NotAcknowledged` if it is not.

        Raises:
            BrokerAway: the queue towards the broker stays full.
            InvalidJob: the job can't be sent as it is.
        """
        return self._publish(self._linked(), prepare(workflow, input, job_id, fields))

    def _publish(self, link: Link, job: Prepared) -> "Future[Receipt]":
        self._slots.acquire()
        try:
            sent = link.publish(job)
        except BaseException:
            self._slots.release()
            raise
        sent.add_done_callback(lambda _: self._slots.release())
        return sent

    def stream(
        self,
        workflow: str,
        input: Any,  # noqa: A002 -- as above
        *,
        job_id: str | None = None,
        timeout_s: float = 60.0,
        **fields: Unpack[JobFields],
    ) -> Iterator[Delta | JobResult]:
        """Publish a job and give its answer while it is being written, then its result; see `Client.stream`."""
        link, job = self._linked(), prepare(workflow, input, job_id, {**fields, "stream": True})
        come: queue.SimpleQueue[Item] = queue.SimpleQueue()
        watch = Watch(job.job_id, job.tenant, come.put)
        link.watch(watch)
        found = link.expect(job.job_id, job.tenant)
        try:
            _acknowledged(job.job_id, self._publish(link, job))
            found.add_done_callback(come.put)
            following = Following(job.job_id, timeout_s)
            with contextlib.suppress(queue.Empty):
                while not following.over:
                    if piece := following.take(come.get(timeout=following.wait_s)):
                        yield piece
            yield following.result()
        finally:
            link.unwatch(watch)
            link.mailbox.forget(job.job_id, found)

    def wait(self, job_id: str, timeout_s: float = 60.0, *, tenant: str | None = None) -> JobResult:
        """The result of a job that ended after this client was opened, or the escalation with which it waits.

        Raises:
            ClientClosed: the client is closed or reads no results.
            NoResult: it has not ended in time; it goes on.
        """
        link = self._linked()
        found = link.expect(job_id, tenant)
        try:
            return _within(found, timeout_s, job_id)
        finally:
            link.mailbox.forget(job_id, found)

    def results(self, *, idle_s: float | None = None) -> Iterator[JobResult]:
        """All results and escalations since this client was opened, as they come; see `Client.results`.

        Raises:
            ClientClosed: the client is closed or reads no results.
            ResultsLost: results arrived faster than they were iterated over, beyond what is remembered.
        """
        link, seen = self._linked(), 0
        link.require_reader()
        while True:
            seen, found, arrival = link.mailbox.since(seen)
            yield from found
            if arrival is not None:
                try:
                    arrival.result(idle_s)
                except TimeoutError:
                    return

    def _linked(self) -> Link:
        if self._link is None:
            raise ClientClosed("the client is not open: use it as `with SyncClient() as client:`")
        return self._link


def _acknowledged(job_id: str, sent: "Future[Receipt]") -> Receipt:
    try:
        return sent.result(ACKNOWLEDGE_S)
    except TimeoutError:
        raise NotAcknowledged(late_acknowledgement(job_id, ACKNOWLEDGE_S)) from None


def _within(found: "Future[JobResult]", timeout_s: float, job_id: str) -> JobResult:
    try:
        return found.result(timeout_s)
    except TimeoutError:
        raise NoResult(late_result(job_id, timeout_s)) from None

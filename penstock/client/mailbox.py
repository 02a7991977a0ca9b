"""Results that have arrived, and who waits for which. Thread-safe; knows no Kafka."""

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from penstock.client.result import JobResult
from penstock.errors import ResultsLost

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Waiter:
    tenant: str | None
    found: "Future[JobResult]"

    def wants(self, result: JobResult) -> bool:
        return self.tenant in {None, result.tenant}


class Mailbox:
    """Routes each result to those who wait for it, and remembers the newest for those who ask later.

    Its futures can't be cancelled: whoever stops waiting just forgets.
    """

    def __init__(self, remember: int) -> None:
        self._lock = threading.Lock()
        self._remember = remember
        self._log: deque[JobResult] = deque()
        self._forgotten = 0
        self._known: dict[str, dict[str, JobResult]] = {}
        self._waiting: dict[str, list[_Waiter]] = {}
        self._arrival: Future[None] | None = None
        self._closed: Exception | None = None

    def deliver(self, result: JobResult) -> None:
        """Take a result in."""
        with self._lock:
            self._keep(result)
            waiting = self._waiting.pop(result.job_id, [])
            if left := [waiter for waiter in waiting if not waiter.wants(result)]:
                self._waiting[result.job_id] = left
            arrival, self._arrival = self._arrival, None
        for waiter in waiting:
            if waiter.wants(result):
                waiter.found.set_result(result)
        if arrival is not None:
            arrival.set_result(None)

    def _keep(self, result: JobResult) -> None:
        self._log.append(result)
        self._known.setdefault(result.job_id, {})[result.tenant] = result
        if len(self._log) > self._remember:
            oldest = self._log.popleft()
            self._forgotten += 1
            tenants = self._known.get(oldest.job_id, {})
            if tenants.get(oldest.tenant) is oldest:
                del tenants[oldest.tenant]
            if not tenants:
                self._known.pop(oldest.job_id, None)

    def expect(self, job_id: str, tenant: str | None) -> "Future[JobResult]":
        """The result of a job, once it is here; at once if it is remembered. No tenant means any."""
        waiter = _Waiter(tenant, _running(Future()))
        with self._lock:
            if self._closed is not None:
                raise self._closed
            known = [result for result in self._known.get(job_id, {}).values() if waiter.wants(result)]
            if not known:
                self._waiting.setdefault(job_id, []).append(waiter)
                return waiter.found
        waiter.found.set_result(known[-1])
        return waiter.found

    def forget(self, job_id: str, found: "Future[JobResult]") -> None:
        """Nobody waits for this any more."""
        with self._lock:
            left = [waiter for waiter in self._waiting.pop(job_id, []) if waiter.found is not found]
            if left:
                self._waiting[job_id] = left

    def since(self, seen: int) -> "tuple[int, list[JobResult], Future[None] | None]":
        """What arrived after the first `seen` results, the count to ask with next, and if nothing did a future for it.

        Raises:
            ResultsLost: some of these are no longer remembered.
        """
        with self._lock:
            if seen < self._forgotten:
                raise ResultsLost(
                    f"{self._forgotten - seen} results were forgotten before they were iterated over: give the client "
                    "a larger `remember`, or read `results` with a consumer group of your own"
                )
            found = [self._log[place] for place in range(seen - self._forgotten, len(self._log))]
            if found:
                return seen + len(found), found, None
            if self._closed is not None:
                raise self._closed
            self._arrival = self._arrival or _running(Future())
            return seen, [], self._arrival

    def close(self, why: Exception) -> None:
        """Nothing will arrive any more: everyone who waits is told."""
        with self._lock:
            self._closed = self._closed or why
            waiting = [waiter for waiters in self._waiting.values() for waiter in waiters]
            self._waiting.clear()
            arrival, self._arrival = self._arrival, None
        for waiter in waiting:
            waiter.found.set_exception(why)
        if arrival is not None:
            arrival.set_exception(why)


def _running(future: "Future[T]") -> "Future[T]":
    future.set_running_or_notify_cancel()
    return future

"""Answers while they are being written, on their way to who watches them. Thread-safe; knows no Kafka."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeAlias

import orjson

from penstock.client.result import JobResult
from penstock.client.words import late_result
from penstock.errors import NoResult
from schemas.side import Delta

LAST_WORD_S = 0.3
"""Seconds that a result waits for the pieces before it, which travel another way, once a piece has been seen."""


@dataclass(frozen=True, slots=True)
class Watch:
    """One who watches a job; no tenant means any."""

    job_id: str
    tenant: str | None
    see: Callable[[Delta], None]


Item: TypeAlias = "Delta | Future[JobResult]"


class Following:
    """One job's answer as it comes: pieces and at last the result, which may overtake the last pieces."""

    def __init__(self, job_id: str, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._job_id = job_id
        self._timeout_s = timeout_s
        self._clock = clock
        self._until = clock() + timeout_s
        self._piece: Delta | None = None
        self._found: Future[JobResult] | None = None

    @property
    def wait_s(self) -> float:
        """How long to wait for what comes next."""
        return max(0.0, self._until - self._clock())

    @property
    def over(self) -> bool:
        """Whether the result is here, and nothing more is to be expected before it."""
        return self._found is not None and (self._piece is None or self._piece.status is not None)

    def take(self, item: Item) -> Delta | None:
        """Take in what has come; a piece is given back."""
        if isinstance(item, Delta):
            self._piece = item
            return item
        self._found, self._until = item, self._clock() + LAST_WORD_S
        return None

    def result(self) -> JobResult:
        """The result, once it is over or the time is.

        Raises:
            NoResult: it has not ended in time; it goes on.
        """
        if self._found is None:
            raise NoResult(late_result(self._job_id, self._timeout_s))
        return self._found.result()


class Pieces:
    """Hands each piece to those who watch its job; what nobody watches is dropped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: dict[str, list[Watch]] = {}

    def add(self, watch: Watch) -> None:
        """Somebody watches."""
        with self._lock:
            self._watches.setdefault(watch.job_id, []).append(watch)

    def remove(self, watch: Watch) -> None:
        """They watch no more."""
        with self._lock:
            left = [one for one in self._watches.pop(watch.job_id, []) if one is not watch]
            if left:
                self._watches[watch.job_id] = left

    def deliver(self, key: bytes | None, value: bytes | None) -> None:
        """Take a record of `deltas` in; only what somebody watches is read.

        Raises:
            ValueError: it is watched, and no piece of an answer.
        """
        with self._lock:
            watching = tuple(self._watches.get((key or b"").decode("utf-8", "replace"), ()))
        if not watching:
            return
        delta = Delta.model_validate(orjson.loads(value or b""))
        for watch in watching:
            if watch.tenant in {None, delta.tenant}:
                watch.see(delta)

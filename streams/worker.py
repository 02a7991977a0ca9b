"""A worker: the stages of one process with their runners, on whatever source and publisher they are given."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from streams.publisher import Publisher
from streams.runner import Runner
from streams.source import Source
from streams.stage import Sleep, Stage
from streams.topics import RETRIES_10S
from streams.transactions import Transactions
from streams.work import DelayWork, StageWork

log = structlog.get_logger(__name__)

DELAYS = "delays"
DELAY_CONCURRENCY = 1000
DRAIN_S = 30.0
"""Seconds that a stopping worker waits for what is in flight; what is cut off then is run again by the next owner."""

OpenSource = Callable[[str, Sequence[str]], Source]
"""Opens the source of a stage, by the stage's name and the topics it reads."""


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass
class Worker:
    """Runs stages until it is told to stop; an error of one ends all, uncommitted work stays uncommitted."""

    stages: tuple[Stage[Any, Any], ...]
    open_source: OpenSource
    publisher: Publisher
    name: str
    control_version: Callable[[], int]
    clock: Callable[[], datetime] = utc_now
    sleep: Sleep = asyncio.sleep

    def __post_init__(self) -> None:
        self._stopping = asyncio.Event()
        self.ready = asyncio.Event()

    def stop(self) -> None:
        """Take nothing more, finish what is in flight, commit, leave."""
        self._stopping.set()

    async def run(self) -> None:
        """Run until stopped.

        Raises:
            StreamsError: the slot is taken, a position is lost, or too many bugs: the message says what to do.
        """
        # 1. the slot: whoever held it is fenced, what it left open is ended
        await self.publisher.open()
        # 2. one source and one runner per stage; 3. run
        transactions = Transactions(self.publisher)
        runners = self._runners(transactions)
        committing = asyncio.create_task(transactions.run())
        running = [asyncio.create_task(runner.run(), name=runner.name) for runner in runners]
        stopping = asyncio.create_task(self._stopping.wait())
        self.ready.set()
        try:
            await asyncio.wait([committing, stopping, *running], return_when=asyncio.FIRST_COMPLETED)
            # 4. stop: take nothing more, finish and commit what is in flight, then let go
            if self._stopping.is_set():
                await self._drain(runners, running, transactions, committing)
        finally:
            await self._leave(runners, [committing, stopping, *running])
        self._raise_first([committing, *running])

    def _runners(self, transactions: Transactions) -> list[Runner]:
        runners = []
        for stage in self.stages:
            source = self.open_source(stage.name, [stage.reads.name])
            work = StageWork(stage, source.group, self.name, self.clock, self.control_version)
            runners.append(Runner(stage.name, source, work, transactions, stage.concurrency))
        source = self.open_source(DELAYS, [RETRIES_10S.name])
        delay = DelayWork(source.group, self.name, self.sleep, self.clock)
        return [*runners, Runner(DELAYS, source, delay, transactions, DELAY_CONCURRENCY)]

    async def _drain(
        self,
        runners: list[Runner],
        running: list[asyncio.Task[None]],
        transactions: Transactions,
        committing: asyncio.Task[None],
    ) -> None:
        for runner in runners:
            await runner.source.stop()
        # What waits in retries.10s is not worth waiting for: it stays where it is.
        stages = [task for task in running if task.get_name() != DELAYS]
        await asyncio.wait(stages, timeout=DRAIN_S)
        drained = asyncio.create_task(transactions.drained())
        await asyncio.wait([drained, committing], timeout=DRAIN_S, return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()

    async def _leave(self, runners: list[Runner], tasks: list[asyncio.Task[Any]]) -> None:
        for task in tasks:
            if not task.done():
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.publisher.close()
        await asyncio.gather(*(runner.source.close() for runner in runners))

    def _raise_first(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise _first(error)


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error

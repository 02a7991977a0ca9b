"""A worker: the stages of one process with their runners, on whatever source and publisher they are given."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from processors.reviewing import Reviewing
from streams.chain import ChainedWork, follower
from streams.claim_store import ClaimStore
from streams.claims import ClaimedWork, carries_its_value
from streams.delays import DelayRunner, DelayWork, PausableSource
from streams.deltas import Tell
from streams.entering import EnteringWork
from streams.handed_on import HandedOn
from streams.ledger import LEDGER
from streams.ordered import Answered, LedgerWork
from streams.pipeline import REVIEWS, STAGES
from streams.pressure import Gate
from streams.publisher import Publisher
from streams.quarantine import Quarantine
from streams.reviews import CASES, ReviewWork, verdict
from streams.runner import Runner
from streams.shortcut import Shortcut, shortened
from streams.sources import AT_ONCE, Source
from streams.stage import Order, Sleep, Stage
from streams.state import Changelog
from streams.tiers import TIERS
from streams.topics import HELD, SPEND, VERDICTS
from streams.topics import REVIEWS as TOPIC_OF_REVIEWS
from streams.transactions import Transactions
from streams.work import StageWork

log = structlog.get_logger(__name__)

DRAIN_S = 30.0
"""Seconds that a stopping worker waits for what is in flight; what is cut off then is run again by the next owner."""
COMMIT_S = 10.0
"""Seconds that its last commits may take after that."""

OpenSource = Callable[[str, Sequence[str], Changelog[Any] | None], PausableSource]
"""Opens the source of a stage, by its name, the topics it reads, and the changelog of what it remembers, if it does."""

REVIEWS_AT_ONCE = 64
SHARES = {1: (1.0,), 3: (8 / 12, 3 / 12, 1 / 12)}
"""How a stage's slots are shared among its topics, the most urgent first: all that wait get on, the urgent faster."""


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
    gate: Gate | None = None
    """What holds intake back."""
    reviewing: Reviewing | None = None
    """What people's verdicts do, where this worker runs the reviews stage."""
    sources: tuple[Source, ...] = ()
    """Topics of others whose records become jobs."""
    claims: ClaimStore | None = None
    """Where values lie that are too large to travel; without it they travel."""
    tell: Tell | None = None
    """How those are told how a job ended who can't wait for its result."""
    answered: Answered | None = None
    """Who is told how long each rung took that answered, once its job has ended."""
    clock: Callable[[], datetime] = utc_now
    sleep: Sleep = asyncio.sleep
    drain_s: float = DRAIN_S
    every_topic: bool = False
    """Whether stages that could follow at once are passed everything over their topics."""

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
        transactions, quarantine = Transactions(self.publisher, self.tell), Quarantine()
        runners = self._runners(transactions, quarantine)
        committing = asyncio.create_task(transactions.run())
        apart = asyncio.create_task(quarantine.run())
        asking = [asyncio.create_task(self.gate.run())] if self.gate is not None else []
        running = [asyncio.create_task(runner.run(), name=runner.name) for runner in runners]
        stopping = asyncio.create_task(self._stopping.wait())
        self.ready.set()
        try:
            await asyncio.wait([committing, apart, stopping, *asking, *running], return_when=asyncio.FIRST_COMPLETED)
            # 4. stop: take nothing more, finish and commit what is in flight, then let go
            if self._stopping.is_set():
                await self._drain(runners, running, transactions, committing)
        finally:
            await self._leave(runners, [committing, apart, stopping, *asking, *running])
        self._raise_first([committing, apart, *asking, *running])

    def _runners(self, transactions: Transactions, quarantine: Quarantine) -> list[Runner | DelayRunner]:
        stages = shortened(self.stages, Shortcut())
        runners: list[Runner] = []
        for stage in reversed(stages):  # so that who goes on in another finds its runner
            runners += self._of_stage(stage, stages, transactions, quarantine, tuple(runners))
        reviews = self._of_reviews(self.reviewing, transactions, quarantine) if self.reviewing is not None else ()
        return [*self._of_sources(transactions), *runners, *reviews, *self._of_delays(transactions)]

    def _of_sources(self, transactions: Transactions) -> Iterator[Runner]:
        for one in self.sources:
            source = self.open_source(one.name, [one.topic], None)
            work = HandedOn(STAGES[0], one.job, source.group, self.name, self.clock)
            yield Runner(one.name, source, work, transactions, AT_ONCE, give_up=work.give_up, gate=self.gate)

    def _of_delays(self, transactions: Transactions) -> Iterator[DelayRunner]:
        for tier in TIERS:
            source = self.open_source(tier.name, [tier.topic.name], None)
            work = DelayWork(tier, source.group, self.name, self.sleep, self.clock)
            yield DelayRunner(tier.name, source, work, transactions)

    def _of_stage(
        self,
        stage: Stage[Any, Any],
        stages: tuple[Stage[Any, Any], ...],
        transactions: Transactions,
        quarantine: Quarantine,
        after: tuple[Runner, ...],
    ) -> Iterator[Runner]:
        """One runner; a stage that reads topics of several priorities has one for each, with its share of the slots."""
        in_order = stage.order is Order.AS_READ
        for (name, topic), share in zip(stage.groups(), SHARES[len(stage.reads)], strict=True):
            source = self.open_source(
                name, [topic.name, SPEND.name] if in_order else [topic.name], LEDGER if in_order else None
            )
            bare = self._work(stage, stages, source.group, after)
            work = bare if self.claims is None else ClaimedWork(bare, self.claims)
            slots = max(1, round(stage.concurrency * share))
            gate = self.gate if stage.name == STAGES[0] else None
            yield Runner(
                name,
                source,
                work,
                transactions,
                slots,
                in_order=in_order,
                in_place=None if stage.stuck_after_s is not None else carries_its_value,
                give_up=work.give_up,
                quarantine=quarantine,
                gate=gate,
            )

    def _work(
        self, stage: Stage[Any, Any], stages: tuple[Stage[Any, Any], ...], group: str, runners: tuple[Runner, ...]
    ) -> StageWork:
        own = stage, group, self.name, self.clock, self.control_version
        if stage.order is Order.AS_READ:
            return LedgerWork(*own) if self.answered is None else LedgerWork(*own, answered=self.answered)
        after = None if self.every_topic else follower(stage, stages)
        if after is None:
            return StageWork(*own)
        if after.order is Order.ANY:
            return ChainedWork(*own, then=self._work(after, stages, group, runners))
        into = next(runner for runner in runners if runner.name == after.name)
        then, plain = self._work(after, stages, into.source.group, runners), self.stages[stages.index(stage)]
        return EnteringWork(*own, then=then, into=into, long_way=plain)

    def _of_reviews(self, reviewing: Reviewing, transactions: Transactions, quarantine: Quarantine) -> Iterator[Runner]:
        source = self.open_source(f"{REVIEWS}.intake", [TOPIC_OF_REVIEWS.name], None)
        intake = HandedOn(REVIEWS, verdict, source.group, self.name, self.clock)
        yield Runner(f"{REVIEWS}.intake", source, intake, transactions, REVIEWS_AT_ONCE)
        source = self.open_source(REVIEWS, [HELD.name, VERDICTS.name], CASES)
        work = ReviewWork(reviewing, source.group, self.name, self.clock, self.control_version)
        yield Runner(
            REVIEWS,
            source,
            work,
            transactions,
            REVIEWS_AT_ONCE,
            in_order=True,
            give_up=work.give_up,
            quarantine=quarantine,
            tick=work.tick,
        )

    async def _drain(
        self,
        runners: list[Runner | DelayRunner],
        running: list[asyncio.Task[None]],
        transactions: Transactions,
        committing: asyncio.Task[None],
    ) -> None:
        if self.gate is not None:
            self.gate.leave_open()
        for runner in runners:
            await runner.source.stop()
        # What waits in the delay tiers is not worth waiting for: it stays where it is.
        waiting = {tier.name for tier in TIERS}
        stages = [task for task in running if task.get_name() not in waiting]
        await asyncio.wait(stages, timeout=self.drain_s)
        drained = asyncio.create_task(_drained(runners, transactions))
        await asyncio.wait([drained, committing], timeout=COMMIT_S, return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()

    async def _leave(self, runners: list[Runner | DelayRunner], tasks: list[asyncio.Task[Any]]) -> None:
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


async def _drained(runners: list[Runner | DelayRunner], transactions: Transactions) -> None:
    await transactions.drained()
    await asyncio.gather(*(runner.release() for runner in runners))


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error

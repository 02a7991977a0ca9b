"""What a stage does with one delivery: decode, run the processor, dispatch. Every failure becomes an emission here."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from processors.outcome import Outcome, Reject, Retry
from schemas.avro import Unreadable
from schemas.base import to_the_microsecond
from schemas.envelope import Envelope
from schemas.stages import Status
from streams.awake import in_work
from streams.bugs import Bugs
from streams.dispatch import dead_letter, dispatch, failed
from streams.errors import NoLongerOurs, ProcessKilled
from streams.header_names import ROUND, header_int
from streams.records import Delivery, Emission
from streams.sizes import failed_that_fits, taken
from streams.stage import Moment, Stage

log = structlog.get_logger(__name__)

DEADLINE_GRACE_S = 5.0
"""Seconds after its deadline at which a call that should have ended by itself is given up."""
STUCK_WAIT_S = 10.0
"""Seconds after which a job is tried again whose call was given up."""


@dataclass
class StageWork:
    """Turns deliveries of one stage into emissions. `control_version` tells which switches were in force."""

    stage: Stage[Any, Any]
    group: str
    worker: str
    clock: Callable[[], datetime]
    control_version: Callable[[], int]
    bugs: Bugs = field(default_factory=Bugs)

    def __post_init__(self) -> None:
        self._decode = {topic.name: topic.decode for topic in self.stage.reads}

    async def __call__(self, delivery: Delivery) -> Emission:
        """The emission of one delivery.

        Raises:
            TooManyBugs: the limit is reached; the process stops before the commit.
            NoLongerOurs: its partition was lost before its call could be made.
        """
        in_work.set(delivery)
        taken_at, started = self.clock(), time.perf_counter()
        try:
            envelope = self._decode[delivery.address.topic](delivery)
        except Exception as unreadable:  # noqa: BLE001 -- whatever bytes and headers provoke must not stop the stage
            if not isinstance(unreadable, Unreadable):
                self.bugs.count(self.stage.name, unreadable)
            moment = self._moment(delivery, taken_at, started)
            log.warning("dead letter", stage=self.stage.name, address=str(delivery.address), error=str(unreadable))
            return dead_letter(self.stage.name, self.group, delivery, unreadable, moment)
        try:
            return await self._emission(delivery, envelope, taken_at, started)
        except NoLongerOurs:
            raise
        except Exception as bug:  # the one place where a bug is caught
            self.bugs.count(self.stage.name, bug)
            log.exception("bug", stage=self.stage.name, job_id=envelope.head.job_id, trace_id=envelope.head.trace_id)
            return self._failed(delivery, envelope, bug, self._moment(delivery, taken_at, started))

    async def give_up(self, delivery: Delivery) -> Emission:
        """What is left of a record that has ended the process too often: a dead letter, and the end of its job."""
        moment = self._moment(delivery, self.clock(), time.perf_counter())
        times = delivery.assignment.note.alone
        killed = ProcessKilled(f"the process has ended {times} times with this record alone in {self.stage.name}")
        log.error("given up", stage=self.stage.name, address=str(delivery.address), error=str(killed))
        if delivery.assignment.note.only_raw:
            return dead_letter(self.stage.name, self.group, delivery, killed, moment)
        try:
            envelope = self._decode[delivery.address.topic](delivery)
        except Exception:  # noqa: BLE001 -- no job can be told from it
            return dead_letter(self.stage.name, self.group, delivery, killed, moment)
        return self._failed(delivery, envelope, killed, moment)

    async def _emission(
        self, delivery: Delivery, envelope: Envelope[Any], taken_at: datetime, started: float
    ) -> Emission:
        outcome = await self._outcome(envelope, taken_at)
        return await self._caused(delivery, envelope, outcome, self._moment(delivery, taken_at, started))

    async def follow(self, delivery: Delivery, envelope: Envelope[Any]) -> Emission | None:
        """What comes of an envelope that has not been on its topic; None if it must go there first.

        Raises:
            Exception: a bug, or RecordTooLarge; nothing has come of the envelope.
        """
        taken_at, started = self.clock(), time.perf_counter()
        outcome = await self._outcome(envelope, taken_at)
        if isinstance(outcome, Retry):
            return None
        return await self._caused(delivery, envelope, outcome, self._moment(delivery, taken_at, started))

    async def _caused(
        self, delivery: Delivery, envelope: Envelope[Any], outcome: Outcome[Any], moment: Moment
    ) -> Emission:
        return taken(dispatch(self.stage, delivery, envelope, outcome, moment))

    def _failed(self, delivery: Delivery, envelope: Envelope[Any], bug: Exception, moment: Moment) -> Emission:
        def fail(known: Envelope[Any]) -> Emission:
            return failed(self.stage, self.group, delivery, known, bug, moment)

        return failed_that_fits(fail, envelope)

    async def _outcome(self, envelope: Envelope[Any], now: datetime) -> Outcome[Any]:
        decided = vars(envelope.payload).get("decided")  # what intake has decided stands, however late it is
        if decided is None and envelope.head.deadline <= now:
            late_s = (now - envelope.head.deadline).total_seconds()
            return Reject(Status.EXPIRED, f"the deadline passed {late_s:.1f} s before {self.stage.name} could begin")
        if self.stage.stuck_after_s is None:
            return await self.stage.runs(envelope)
        left_s = (envelope.head.deadline - now).total_seconds() + DEADLINE_GRACE_S
        return await self._unless_stuck(envelope, min(self.stage.stuck_after_s, left_s))

    async def _unless_stuck(self, envelope: Envelope[Any], limit_s: float) -> Outcome[Any]:
        """A call that never ends would hold up the watermark, and at last the partition."""
        try:
            async with asyncio.timeout(limit_s) as limit:
                return await self.stage.runs(envelope)
        except TimeoutError:
            if not limit.expired():
                raise
            head = envelope.head
            log.warning("stuck", stage=self.stage.name, job_id=head.job_id, trace_id=head.trace_id, after_s=limit_s)
            return Retry(f"{self.stage.name} had no end after {limit_s:.1f} s and was given up", after_s=STUCK_WAIT_S)

    def _moment(self, delivery: Delivery, taken_at: datetime, started: float) -> Moment:
        duration_ms = (time.perf_counter() - started) * 1000
        return moment_of(delivery, taken_at, self.clock(), duration_ms, self.worker, self.control_version())


def moment_of(
    delivery: Delivery, taken_at: datetime, finished_at: datetime, duration_ms: float, worker: str, control_version: int
) -> Moment:
    """When and where a delivery was worked on; `queue_ms` is the time since the broker appended it."""
    queue_ms = taken_at.timestamp() * 1000 - delivery.timestamp_ms
    return Moment(
        finished_at=finished_at,
        queue_ms=to_the_microsecond(max(0.0, queue_ms)),
        duration_ms=duration_ms,
        worker=worker,
        control_version=control_version,
        rounds_waited=header_int(delivery.raw.headers, ROUND, 0),
    )

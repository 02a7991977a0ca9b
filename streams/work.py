"""What a stage does with one delivery: decode, run the processor, dispatch. Every failure becomes an emission here."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from processors.outcome import Outcome, Reject
from schemas.avro import Unreadable
from schemas.base import from_millis
from schemas.envelope import Envelope
from schemas.stages import Status
from streams.dispatch import DELAY_S, dead_letter, dispatch, failed
from streams.errors import RecordTooLarge, TooManyBugs
from streams.header_names import DUE, RETURN_TOPIC, ROUND, header_int
from streams.records import Delivery, Emission
from streams.stage import Moment, Sleep, Stage
from streams.topics import MAX_BYTES
from streams.wire import returning_record

log = structlog.get_logger(__name__)

FRAMING = 128
"""Bytes that a record, or a header of it, needs beside its content: more than enough."""

BUGS_PER_MINUTE = 50
"""More failures by bugs than this in one minute stop the process: better to stop than to divert everything."""


@dataclass
class StageWork:
    """Turns deliveries of one stage into emissions. `control_version` tells which switches were in force."""

    stage: Stage[Any, Any]
    group: str
    worker: str
    clock: Callable[[], datetime]
    control_version: Callable[[], int]
    _bugs: list[float] = field(default_factory=list)

    async def __call__(self, delivery: Delivery) -> Emission:
        """The emission of one delivery.

        Raises:
            TooManyBugs: the limit is reached; the process stops before the commit.
        """
        taken_at, started = self.clock(), time.perf_counter()
        try:
            envelope = self.stage.reads.decode(delivery)
        except Exception as unreadable:  # noqa: BLE001 -- whatever bytes and headers provoke must not stop the stage
            if not isinstance(unreadable, Unreadable):
                self._count(unreadable)
            moment = self._moment(delivery, taken_at, started)
            log.warning("dead letter", stage=self.stage.name, address=str(delivery.address), error=str(unreadable))
            return dead_letter(self.stage.name, self.group, delivery, unreadable, moment)
        try:
            outcome = await self._outcome(envelope, taken_at)
            return _taken(dispatch(self.stage, delivery, envelope, outcome, self._moment(delivery, taken_at, started)))
        except Exception as bug:  # the one place where a bug is caught
            self._count(bug)
            log.exception("bug", stage=self.stage.name, job_id=envelope.head.job_id, trace_id=envelope.head.trace_id)
            moment = self._moment(delivery, taken_at, started)
            return failed(self.stage, self.group, delivery, envelope, bug, moment)

    async def _outcome(self, envelope: Envelope[Any], now: datetime) -> Outcome[Any]:
        decided = getattr(envelope.payload, "decided", None)  # what intake has decided stands, however late it is
        if decided is None and envelope.head.deadline <= now:
            late_s = (now - envelope.head.deadline).total_seconds()
            return Reject(Status.EXPIRED, f"the deadline passed {late_s:.1f} s before {self.stage.name} could begin")
        return await self.stage.runs(envelope)

    def _moment(self, delivery: Delivery, taken_at: datetime, started: float) -> Moment:
        duration_ms = (time.perf_counter() - started) * 1000
        return moment_of(delivery, taken_at, self.clock(), duration_ms, self.worker, self.control_version())

    def _count(self, bug: Exception) -> None:
        now = time.monotonic()
        self._bugs = [at for at in self._bugs if now - at < 60] + [now]
        if len(self._bugs) > BUGS_PER_MINUTE:
            raise TooManyBugs(
                f"{self.stage.name}: {len(self._bugs)} records failed by a bug within a minute, the last by "
                f"{type(bug).__name__}: {bug}. The process stops; what was in work stays uncommitted"
            ) from bug


def _taken(emission: Emission) -> Emission:
    """The emission, if the broker takes its records: one that it refuses would hold up the commits of every stage."""
    for record in emission.records:
        headers = sum(len(name) + len(value or b"") + FRAMING for name, value in record.headers)
        size = len(record.key or b"") + len(record.value or b"") + headers + FRAMING
        if size > MAX_BYTES[record.topic]:
            raise RecordTooLarge(f"a record of {size} bytes for {record.topic}, which takes {MAX_BYTES[record.topic]}")
    return emission


def moment_of(
    delivery: Delivery, taken_at: datetime, finished_at: datetime, duration_ms: float, worker: str, control_version: int
) -> Moment:
    """When and where a delivery was worked on; `queue_ms` is the time since the broker appended it."""
    queued = taken_at - from_millis(delivery.timestamp_ms)
    return Moment(
        finished_at=finished_at,
        queue_ms=max(0.0, queued.total_seconds() * 1000),
        duration_ms=duration_ms,
        worker=worker,
        control_version=control_version,
        rounds_waited=header_int(delivery.raw.headers, ROUND, 0),
    )


@dataclass(frozen=True)
class DelayWork:
    """Holds a waiting record until it is due and puts it back where it came from."""

    group: str
    worker: str
    sleep: Sleep
    clock: Callable[[], datetime]

    async def __call__(self, delivery: Delivery) -> Emission:
        """The returning record, when it is due."""
        taken_at = self.clock()
        due_ms = header_int(delivery.raw.headers, DUE, delivery.timestamp_ms)
        if (wait_s := due_ms / 1000 - taken_at.timestamp()) > 0:
            await self.sleep(min(wait_s, DELAY_S))
        if (back := returning_record(delivery)) is not None:
            return Emission((back,))
        homeless = Unreadable(f"a waiting record must name where it returns to in the header {RETURN_TOPIC}")
        moment = moment_of(delivery, taken_at, self.clock(), 0.0, self.worker, -1)
        return dead_letter("delays", self.group, delivery, homeless, moment)

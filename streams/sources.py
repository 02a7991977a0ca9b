"""Jobs from topics that exist for other purposes: each record becomes one job on `jobs`, in one transaction."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from schemas.avro import Unreadable
from schemas.job_map import JobMap
from streams.dispatch import dead_letter
from streams.records import Delivery, Emission, Record
from streams.topics import JOBS, MAX_RECORD_BYTES
from streams.work import moment_of

log = structlog.get_logger(__name__)

STAGE: Final = "intake"
"""Whose concern it is that a record is no job."""
AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True)
class Source:
    """A topic, and how its records become jobs."""

    topic: str
    jobs: JobMap

    @property
    def name(self) -> str:
        """Of its runner and its consumer group."""
        return f"source.{self.topic}"


@dataclass(frozen=True)
class SourceWork:
    """What a record of a source causes: a job, or a dead letter that says why it is none."""

    source: Source
    group: str
    worker: str
    clock: Callable[[], datetime]

    async def __call__(self, delivery: Delivery) -> Emission:
        """The job under the record's own key; its headers, a trace's among them, go along."""
        raw, now = delivery.raw, self.clock()
        try:
            job = self._job(delivery)
        except Unreadable as error:
            log.warning("dead letter", stage=STAGE, address=str(delivery.address), error=str(error))
            return dead_letter(STAGE, self.group, delivery, error, moment_of(delivery, now, now, 0.0, self.worker, -1))
        return Emission((Record(JOBS.name, raw.key, job, raw.headers),))

    give_up = __call__

    def _job(self, delivery: Delivery) -> bytes:
        job = self.source.jobs.job(delivery.raw.value, str(delivery.address).replace("/", "-"))
        if len(job) > MAX_RECORD_BYTES:
            raise Unreadable(f"the job has {len(job)} bytes, the limit is {MAX_RECORD_BYTES}")
        return job

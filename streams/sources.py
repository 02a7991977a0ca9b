"""Jobs from topics that exist for other purposes: each record becomes one job on `jobs`."""

from dataclasses import dataclass
from typing import Final

from schemas.avro import Unreadable
from schemas.job_map import JobMap
from streams.records import Delivery, Record
from streams.topics import JOBS, MAX_RECORD_BYTES

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

    def job(self, delivery: Delivery) -> Record:
        """The job under the record's own key; its headers, a trace's among them, go along.

        Raises:
            Unreadable: it is none; the message says why.
        """
        raw = delivery.raw
        job = self.jobs.job(raw.value, str(delivery.address).replace("/", "-"))
        if len(job) > MAX_RECORD_BYTES:
            raise Unreadable(f"the job has {len(job)} bytes, the limit is {MAX_RECORD_BYTES}")
        return Record(JOBS.name, raw.key, job, raw.headers)

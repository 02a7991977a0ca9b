"""Two ways to do the same jobs, measured in turn on one broker and one provider of constant latency."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any, Final

import orjson
from checker.topics import assign_from_start, consumer
from confluent_kafka import Producer

from lab.children import Child, LabError, wait_for
from penstock.local.banking77 import split

WORKFLOW: Final = "banking_intent"
RESULT_S: Final = 120.0


@dataclass(frozen=True)
class Throughput:
    """One run with all jobs published at once: what the process took for it."""

    jobs: int
    cpu_s: float
    wall_s: float

    @property
    def jobs_per_cpu_s(self) -> float:
        """Jobs for each second of the process's CPU, all its threads."""
        return self.jobs / self.cpu_s

    @property
    def jobs_per_s(self) -> float:
        """Jobs for each second of time."""
        return self.jobs / self.wall_s


@dataclass(frozen=True)
class Figures:
    """A contestant's runs in a few numbers."""

    name: str
    jobs_per_cpu_s: float
    cpu_ms_per_job: float
    jobs_per_s: float
    spread: tuple[float, float]
    """Least and most jobs per CPU-second."""
    added_p50_ms: float | None = None
    added_p99_ms: float | None = None


class Contestant:
    """A process that takes jobs from one topic and writes results to another."""

    def __init__(self, name: str, child: Child, broker: str, jobs: str, results: str) -> None:
        self.name = name
        self.child = child
        self._jobs = jobs
        self._producer = Producer({"bootstrap.servers": broker, "acks": "all", "linger.ms": 0, "log_level": 0})
        self._results = consumer(broker)
        self._results.assign(assign_from_start(self._results, results))
        self._texts = [message.text for message in split("unseen")]
        self._published = 0
        self.runs: list[Throughput] = []
        self.latencies_ms: list[float] = []

    def run(self, jobs: int) -> Throughput:
        """Publish jobs at once, wait for their results; returns what it took.

        Raises:
            LabError: a result is no acceptance, or one does not come.
        """
        began_cpu, began = self.child.cpu_s(), time.perf_counter()
        wanted = {self._publish() for _ in range(jobs)}
        self._producer.flush(30)
        wait_for(lambda: not self._missing(wanted), f"{jobs} results of {self.name}", RESULT_S, (self.child,))
        return Throughput(jobs, self.child.cpu_s() - began_cpu, time.perf_counter() - began)

    def latency_ms(self) -> float:
        """Milliseconds from publishing one job, while nothing else runs, to reading its result."""
        began = time.perf_counter()
        wanted = {self._publish()}
        until = began + RESULT_S
        while self._missing(wanted, limit=1):
            if time.perf_counter() > until:
                raise LabError(f"{self.name}: no result of one job")
        return (time.perf_counter() - began) * 1000

    def figures(self, provider_ms: float) -> Figures:
        """The medians; latencies without the provider's."""
        rates = [run.jobs_per_cpu_s for run in self.runs]
        added = [taken - provider_ms for taken in self.latencies_ms]
        return Figures(
            name=self.name,
            jobs_per_cpu_s=median(rates),
            cpu_ms_per_job=1000 / median(rates),
            jobs_per_s=median(run.jobs_per_s for run in self.runs),
            spread=(min(rates), max(rates)),
            added_p50_ms=median(added) if added else None,
            added_p99_ms=quantiles(added, n=100)[98] if added else None,
        )

    def _publish(self) -> str:
        job_id = f"{self.name.split()[0]}-{self._published:06d}"
        text = self._texts[self._published % len(self._texts)]
        self._published += 1
        job = {"workflow": WORKFLOW, "job_id": job_id, "input": {"text": text}}
        while True:
            try:
                self._producer.produce(self._jobs, orjson.dumps(job))
            except BufferError:
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return job_id

    def _missing(self, wanted: set[str], limit: int = 1000) -> set[str]:
        """Read what there is; take what has come out of `wanted`."""
        for message in self._results.consume(limit, 0.05):
            if message.error() is not None:
                continue
            fields: dict[str, Any] = orjson.loads(message.value() or b"null")
            if fields["status"] != "accepted":
                raise LabError(f"{self.name}: {fields['job_id']} ended as {fields['status']}: {fields.get('reason')}")
            wanted.discard(fields["job_id"])
        return wanted

    def close(self) -> None:
        """Let go."""
        self._producer.flush(10)
        self._results.close()


def alternate(contestants: Sequence[Contestant], rounds: int, jobs: int, told: Callable[[str], object]) -> None:
    """Run each in turn, so that whatever else the machine does meets all alike."""
    for number in range(1, rounds + 1):
        for one in contestants:
            one.runs.append(one.run(jobs))
            told(f"run {number} of {rounds}: {one.name}")


def alternate_latency(
    contestants: Iterable[Contestant], jobs: int, told: Callable[[str], object], block: int = 20
) -> None:
    """One job at a time, in blocks by turns."""
    for start in range(0, jobs, block):
        for one in contestants:
            one.latencies_ms.extend(one.latency_ms() for _ in range(min(block, jobs - start)))
            told(f"latency: {one.name}")

"""Every Prometheus metric of a worker, by its name; docs/operate.md lists them. Nothing else in Penstock names one.

What is known of finished records is counted when their transaction has been committed, from the trace events that it
carries: no record costs anything on its way. States (in flight, owned, away) are read when somebody asks.
"""

from collections import Counter as Counted
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from schemas.dead_letter_events import DeadLetterEvent
from schemas.trace import StageEvent
from streams.batch import Batch
from streams.records import Finished
from streams.tiers import TIERS
from streams.topics import SPEND

REGISTRY: Final = CollectorRegistry()
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_SHORT: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LONG: Final = (*_SHORT, 300, 1800, 7200, 86_400)

TAKEN: Final = Counter(
    "penstock_records_taken", "Records that a stage took from its topics.", ["stage"], registry=REGISTRY
)
FINISHED: Final = Counter(
    "penstock_records_finished",
    "Records whose outcome was committed: the outcome, or dead_letter, returned (delays), settled (spend).",
    ["stage", "outcome"],
    registry=REGISTRY,
)
QUEUE: Final = Histogram(
    "penstock_queue_seconds",
    "Time from the broker's append until a stage began.",
    ["stage"],
    buckets=_LONG,
    registry=REGISTRY,
)
PROCESSOR: Final = Histogram(
    "penstock_processor_seconds",
    "Time that a stage worked on a record, waiting included.",
    ["stage"],
    buckets=_SHORT,
    registry=REGISTRY,
)
DEAD_LETTERS: Final = Counter("penstock_dead_letters", "Records given up.", ["stage", "error_class"], registry=REGISTRY)
BUGS: Final = Counter("penstock_bugs", "Records that failed by a bug of Penstock.", ["stage"], registry=REGISTRY)
TRANSACTIONS: Final = Counter("penstock_transactions", "Transactions committed.", registry=REGISTRY)
TRANSACTION_SECONDS: Final = Histogram(
    "penstock_transaction_seconds",
    "Time until a batch was committed, repeats included.",
    buckets=_SHORT,
    registry=REGISTRY,
)
TRANSACTION_FAILURES: Final = Counter(
    "penstock_transaction_failures",
    "Transactions that failed and were made again: aborted, fenced, or hung.",
    ["kind"],
    registry=REGISTRY,
)
SINK_STORED: Final = Counter(
    "penstock_sink_rows", "Rows that the warehouse has acknowledged.", ["table"], registry=REGISTRY
)
SINK_BATCHES: Final = Counter(
    "penstock_sink_batches", "Inserts that the warehouse has acknowledged.", ["table"], registry=REGISTRY
)
SINK_SECONDS: Final = Histogram("penstock_sink_insert_seconds", "Time of an insert.", buckets=_SHORT, registry=REGISTRY)
ProcessCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

for _kind in ("aborted", "fenced", "hung"):
    TRANSACTION_FAILURES.labels(_kind)  # zero is said, not left out


@dataclass(frozen=True, slots=True)
class Owned:
    """One partition that this process owns: its stage, its topic, and how many of its records are in work."""

    stage: str
    topic: str
    in_flight: int


@dataclass(eq=False)
class Now(Collector):
    """What is so at the moment, asked at each scrape. Each part that this process runs fills in what it knows."""

    worker: str
    parts: str
    owned: Callable[[], Iterable[Owned]] = tuple
    control_version: Callable[[], int] = lambda: -1
    sink_away: Callable[[], bool] | None = None
    ready: Callable[[], bool] = lambda: False

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges."""
        info = GaugeMetricFamily("penstock_worker_info", "Which worker this is.", labels=["worker", "parts"])
        info.add_metric([self.worker, self.parts], 1)
        yield info
        yield GaugeMetricFamily("penstock_ready", "Whether /readyz says yes.", value=float(self.ready()))
        yield GaugeMetricFamily(
            "penstock_control_version", "The control record in force.", value=float(self.control_version())
        )
        yield from self._partitions()
        if self.sink_away is not None:
            away = float(self.sink_away())
            yield GaugeMetricFamily("penstock_sink_away", "Whether the warehouse does not answer the sink.", value=away)

    def _partitions(self) -> Iterator[GaugeMetricFamily]:
        partitions: dict[tuple[str, str], int] = {}
        in_flight: dict[str, int] = {}
        for one in self.owned():
            partitions[one.stage, one.topic] = partitions.get((one.stage, one.topic), 0) + 1
            in_flight[one.stage] = in_flight.get(one.stage, 0) + one.in_flight
        owned = GaugeMetricFamily(
            "penstock_partitions_owned", "Partitions of a topic that this process owns.", labels=["stage", "topic"]
        )
        for labels, count in partitions.items():
            owned.add_metric(labels, count)
        yield owned
        working = GaugeMetricFamily("penstock_records_in_flight", "Records begun and not committed.", labels=["stage"])
        for stage, count in in_flight.items():
            working.add_metric([stage], count)
        yield working


def exposition() -> bytes:
    """All of it as text for Prometheus."""
    return generate_latest(REGISTRY)


def committed(batch: Batch, seconds: float) -> None:
    """Count what a committed batch holds."""
    TRANSACTIONS.inc()
    TRANSACTION_SECONDS.observe(seconds)
    for (stage, outcome), count in Counted(ended for one in batch.finished for ended in _count(one)).items():
        FINISHED.labels(stage, outcome).inc(count)


def _count(one: Finished) -> list[tuple[str, str]]:
    """The stages that a record went through, and how they ended; times and dead letters are counted on the way."""
    ended, given_up = [], []
    for event in one.emission.events:
        if isinstance(event, StageEvent):
            ended.append((event.stage, event.outcome))
            queue, processor = _seconds(event.stage)
            queue.observe(event.queue_ms / 1000)
            processor.observe(event.duration_ms / 1000)
        elif isinstance(event, DeadLetterEvent):
            DEAD_LETTERS.labels(event.stage, event.error_class).inc()
            given_up.append((event.stage, "dead_letter"))
    return ended or given_up or [_SILENT.get(one.delivery.address.topic, ("unknown", "unknown"))]


_SILENT: Final = {
    **{tier.topic.name: ("delays", "returned") for tier in TIERS},
    SPEND.name: ("routing", "settled"),
}
"""What finishing a record means that leaves no trace event, by the topic it was read from."""


@cache
def _seconds(stage: str) -> tuple[Histogram, Histogram]:
    return QUEUE.labels(stage), PROCESSOR.labels(stage)


def stored(table: str, count: int, seconds: float) -> None:
    """Count an insert of the sink."""
    SINK_STORED.labels(table).inc(count)
    SINK_BATCHES.labels(table).inc()
    SINK_SECONDS.observe(seconds)


def kinds() -> dict[str, str]:
    """Every metric's kind (counter, gauge, histogram) by its name; those of the Python process are left out."""
    families = [*REGISTRY.collect(), *Now("", "", sink_away=lambda: False).collect()]
    return {one.name: one.type for one in families if one.name.startswith("penstock_")}

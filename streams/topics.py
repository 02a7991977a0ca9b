"""Every topic once: its type, its key, how long it keeps records, how its records become envelopes and back."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from schemas.avro import Codec
from schemas.base import Record as Model
from schemas.base import from_millis
from schemas.envelope import Envelope, Head
from schemas.headers import AVRO, JSON
from schemas.side import Spend
from schemas.stages import Admitted, Answer, Held, Routed, Submission, Validated
from schemas.submission import origin_of, read_submission
from streams.header_names import FIRST_SEEN, ORIGIN, header_int, header_text
from streams.records import Address, Delivery

T = TypeVar("T", bound=Model)

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
PARTITIONS = 6
MAX_RECORD_BYTES = 8 * 1024 * 1024
"""What a producer may send."""
MAX_OWN_BYTES = 12 * 1024 * 1024
"""What stages write at most: a producer's record, or a provider's response of 8 MiB, and what stands around it."""
_ADDRESS = re.compile(r"(.+)/(\d{1,9})/(\d{1,18})", re.ASCII)


@dataclass(frozen=True)
class Settings:
    """How a topic is created, and what is checked of one that exists."""

    partitions: int = PARTITIONS
    retention_ms: int = 7 * DAY_MS
    compact: bool = False
    append_time: bool = False
    max_bytes: int = MAX_OWN_BYTES

    def config(self) -> dict[str, str]:
        """As Kafka's topic configuration."""
        config = {"max.message.bytes": str(self.max_bytes)}
        if self.compact:
            return config | {"cleanup.policy": "compact"}
        if self.append_time:
            config["message.timestamp.type"] = "LogAppendTime"
        return config | {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms)}


@dataclass(frozen=True)
class Topic:
    """A topic by its name without the prefix; the prefix is a setting that only the adapters add."""

    name: str
    settings: Settings = field(default_factory=Settings)
    content_type: bytes = AVRO


@dataclass(frozen=True)
class FlowTopic(Topic, Generic[T]):
    """A topic of the main path: typed, so that a stage wired to the wrong one is a type error."""

    decode: Callable[[Delivery], Envelope[T]] = field(kw_only=True)
    encode: Callable[[Envelope[T]], bytes] = field(kw_only=True)
    key: Callable[[Head], str] = field(kw_only=True)


def _flow(name: str, codec: Codec[Envelope[T]], key: Callable[[Head], str]) -> FlowTopic[T]:
    return FlowTopic(
        name, decode=lambda delivery: codec.decode(delivery.raw.value or b""), encode=codec.encode, key=key
    )


def _by_job(head: Head) -> str:
    return head.job_id


def _submission(delivery: Delivery) -> Envelope[Submission]:
    """A record that waited and came back keeps the address and the time that it had at first."""
    address, raw = _first_address(delivery), delivery.raw
    origin = origin_of(address.topic, address.partition, address.offset, raw.key, raw.headers)
    appended_ms = header_int(raw.headers, FIRST_SEEN, delivery.timestamp_ms)
    return read_submission(raw.value, origin, from_millis(min(appended_ms, delivery.timestamp_ms)))


def _first_address(delivery: Delivery) -> Address:
    told = _ADDRESS.fullmatch(header_text(delivery.raw.headers, ORIGIN))
    if told is None or told[1] != delivery.address.topic:
        return delivery.address
    return Address(told[1], int(told[2]), int(told[3]))


def _unwritten(envelope: Envelope[Submission]) -> bytes:
    raise TypeError(f"jobs are written by producers, not by a stage: {envelope.head.job_id}")


LARGE = Settings(append_time=True, max_bytes=MAX_RECORD_BYTES)

JOBS = FlowTopic[Submission]("jobs", LARGE, JSON, decode=_submission, encode=_unwritten, key=_by_job)
JOBS_HIGH = replace(JOBS, name="jobs.high")
JOBS_LOW = replace(JOBS, name="jobs.low")
ADMITTED = _flow("admitted", Codec("AdmittedRecord", Envelope[Admitted]), lambda head: head.tenant)
ROUTED = _flow("routed", Codec("RoutedRecord", Envelope[Routed]), _by_job)
ANSWERED = _flow("answered", Codec("AnswerRecord", Envelope[Answer]), _by_job)
VALIDATED = _flow("validated", Codec("ValidatedRecord", Envelope[Validated]), _by_job)

HELD = _flow("held", Codec("HeldRecord", Envelope[Held]), _by_job)
REVIEWS = Topic("reviews", content_type=JSON)
VERDICTS = Topic("verdicts")
REVIEW_STATE = Topic("review-state", Settings(compact=True))

SPEND = Topic("spend")
SPENDS = Codec("Spend", Spend)
ROUTING_STATE = Topic("routing-state", Settings(compact=True))

RESULTS = Topic("results", content_type=JSON)
DELTAS = Topic("deltas", Settings(retention_ms=HOUR_MS), JSON)
ESCALATIONS = Topic("escalations", Settings(retention_ms=30 * DAY_MS), JSON)
RETRIES_10S = Topic("retries.10s")
RETRIES_5M = Topic("retries.5m")
PARKED = Topic("parked")
DEAD_LETTERS = Topic("dead-letters", Settings(retention_ms=30 * DAY_MS, max_bytes=MAX_OWN_BYTES + 65_536))
DEAD_LETTER_ACTIONS = Topic("dead-letter-actions", Settings(partitions=1, compact=True))
TRACES = Topic("traces")
CONTROL = Topic("control", Settings(partitions=1, compact=True))
REGISTRY = Topic("registry", Settings(partitions=1, compact=True))
SNAPSHOT_VERSIONS = Topic("snapshot-versions", Settings(partitions=1, compact=True), JSON)
CONTEXT_REQUESTS = Topic("context-requests", content_type=JSON)

TOPICS: tuple[Topic, ...] = (
    JOBS_HIGH,
    JOBS,
    JOBS_LOW,
    ADMITTED,
    SPEND,
    ROUTING_STATE,
    ROUTED,
    ANSWERED,
    VALIDATED,
    RESULTS,
    DELTAS,
    ESCALATIONS,
    HELD,
    REVIEWS,
    VERDICTS,
    REVIEW_STATE,
    RETRIES_10S,
    RETRIES_5M,
    PARKED,
    DEAD_LETTERS,
    DEAD_LETTER_ACTIONS,
    TRACES,
    CONTROL,
    REGISTRY,
    SNAPSHOT_VERSIONS,
    CONTEXT_REQUESTS,
)
PRODUCERS = {topic.name: topic for topic in (JOBS_HIGH, JOBS, JOBS_LOW)}
"""What producers write."""
FLOW: dict[str, FlowTopic[Any]] = {topic.name: topic for topic in (ADMITTED, ROUTED, ANSWERED, VALIDATED)}
"""What passes from stage to stage."""
MAX_BYTES = {topic.name: topic.settings.max_bytes for topic in TOPICS}
BY_SLOT = frozenset({TRACES.name, DEAD_LETTERS.name})
"""Shared by all stages: written to the slot's partition, so that a stalled transaction stalls few."""

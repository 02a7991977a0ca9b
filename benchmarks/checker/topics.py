"""Reading topics as any consumer does that takes only what is committed: a bare client, no group."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

import orjson
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

TIMEOUT_S: Final = 30.0
GROUPS: Final = {
    "intake.jobs.high": ("jobs.high",),
    "intake": ("jobs",),
    "intake.jobs.low": ("jobs.low",),
    "routing": ("admitted", "spend"),
    "inference": ("routed",),
    "validation": ("answered",),
    "grading": ("validated",),
    "reviews.intake": ("reviews",),
    "reviews": ("held", "verdicts"),
    "delays": ("retries.10s",),
    "delays.5m": ("retries.5m",),
    "delays.parked": ("parked",),
    "sink": ("traces",),
}
"""What each group reads."""


def consumer(broker: str) -> Consumer:
    """A consumer of committed records that never commits."""
    settings = {
        "bootstrap.servers": broker,
        "group.id": "lab",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 5,
        "log_level": 0,
    }
    return Consumer(settings)


def assign_from_start(reader: Consumer, topic: str) -> list[TopicPartition]:
    """All partitions of a topic that exists, from their beginning."""
    found = reader.list_topics(topic, TIMEOUT_S).topics[topic]
    assert found.error is None, f"{topic}: {found.error}"
    return [TopicPartition(topic, number, 0) for number in found.partitions]


def read_all(broker: str, topic: str) -> list[Message]:
    """Every committed record of a topic up to its last stable end. Call it when nobody writes."""
    return list(_read(broker, topic, {}))


def waiting(broker: str, prefix: str, application: str = "penstock") -> dict[str, int]:
    """Committed records that each group has not finished yet, by group; those without any are left out.

    Raises:
        KafkaException: the broker does not answer, or a transaction with offsets of the group is open.
    """
    admin = AdminClient({"bootstrap.servers": broker, "log_level": 0})
    topics = admin.list_topics(timeout=TIMEOUT_S).topics
    counts: Counter[str] = Counter()
    for group, names in GROUPS.items():
        for topic in (prefix + name for name in names):
            partitions = [TopicPartition(topic, number) for number in topics[topic].partitions]
            starts = _positions(admin, f"{prefix}{application}.{group}", partitions)
            counts[group] += sum(1 for _ in _read(broker, topic, starts))
    return {group: count for group, count in counts.items() if count}


def _positions(admin: AdminClient, group: str, partitions: list[TopicPartition]) -> dict[int, int]:
    request = ConsumerGroupTopicPartitions(group, partitions)
    asked = admin.list_consumer_group_offsets([request], require_stable=True, request_timeout=TIMEOUT_S)
    found = asked[group].result().topic_partitions
    for place in found:
        if place.error is not None:
            raise KafkaException(place.error)
    return {place.partition: max(place.offset, 0) for place in found}


def _read(broker: str, topic: str, starts: dict[int, int]) -> Iterator[Message]:
    reader = consumer(broker)
    try:
        places = assign_from_start(reader, topic)
        reader.assign([TopicPartition(topic, p.partition, starts.get(p.partition, 0)) for p in places])
        ended: set[int | None] = set()
        while len(ended) < len(places):
            for message in reader.consume(1000, 0.02):
                if message.error() is None:
                    yield message
                else:
                    ended.add(message.partition())
    finally:
        reader.close()


class Ends:
    """Where jobs end: `results` and `escalations`, followed from the beginning."""

    def __init__(self, broker: str, prefix: str) -> None:
        self._broker = broker
        self._prefix = prefix
        self._consumer: Consumer | None = None
        self.results: dict[str, list[str]] = defaultdict(list)
        """The statuses of each job's results: one, if all is well."""
        self.escalations: Counter[str] = Counter()
        self.count = 0
        """How many ends were read so far."""
        self.attempts = 0
        """Provider calls that the ends account for."""
        self.cost_usd = Decimal(0)
        """US dollars that the ends account for."""
        self.of_unknown_cost: set[str] = set()
        """Jobs whose end says that it can't know what they cost: a call without an answer has no price."""

    def read(self) -> int:
        """Read what is there, waiting a moment at most; return how many were read since the beginning."""
        for message in self._open().consume(1000, 0.05):
            if message.error() is None:
                self.take(message)
        return self.count

    def _open(self) -> Consumer:
        if self._consumer is None:
            self._consumer = consumer(self._broker)
            topics = (f"{self._prefix}{name}" for name in ("results", "escalations"))
            self._consumer.assign([place for topic in topics for place in assign_from_start(self._consumer, topic)])
        return self._consumer

    def take(self, message: Message) -> None:
        """Count one record of either topic."""
        fields: dict[str, Any] = orjson.loads(message.value() or b"null")
        if (message.topic() or "").endswith("results"):
            self.results[fields["job_id"]].append(fields["status"])
        else:
            self.escalations[fields["job_id"]] += 1
        self.attempts += fields["attempts"]
        if fields["cost_usd"] is None:
            self.of_unknown_cost.add(fields["job_id"])
        else:
            self.cost_usd += Decimal(fields["cost_usd"])
        self.count += 1

    def close(self) -> None:
        """Let go."""
        if self._consumer is not None:
            self._consumer.close()

"""Reading topics as any consumer does that takes only what is committed: a bare client, no group."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import orjson
from confluent_kafka import Consumer, Message, TopicPartition

TIMEOUT_S: Final = 30.0


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
    reader = consumer(broker)
    try:
        places = assign_from_start(reader, topic)
        reader.assign(places)
        return list(_until_all_end(reader, len(places)))
    finally:
        reader.close()


def _until_all_end(reader: Consumer, partitions: int) -> Iterator[Message]:
    ended: set[int | None] = set()
    while len(ended) < partitions:
        for message in reader.consume(1000, 1.0):
            if message.error() is None:
                yield message
            else:
                ended.add(message.partition())


class Ends:
    """Where jobs end: `results` and `escalations`, followed from the beginning."""

    def __init__(self, broker: str, prefix: str) -> None:
        self._broker = broker
        self._prefix = prefix
        self._consumer: Consumer | None = None
        self.results: Counter[str] = Counter()
        self.escalations: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.attempts = 0
        """Provider calls that the ends account for."""

    @property
    def count(self) -> int:
        """How many were read so far."""
        return self.results.total() + self.escalations.total()

    def read(self) -> int:
        """Read what is there, waiting a moment at most; return how many were read since the beginning."""
        for message in self._open().consume(1000, 0.05):
            if message.error() is None:
                self._take(message)
        return self.count

    def _open(self) -> Consumer:
        if self._consumer is None:
            self._consumer = consumer(self._broker)
            topics = (f"{self._prefix}{name}" for name in ("results", "escalations"))
            self._consumer.assign([place for topic in topics for place in assign_from_start(self._consumer, topic)])
        return self._consumer

    def _take(self, message: Message) -> None:
        fields: dict[str, Any] = orjson.loads(message.value() or b"null")
        if (message.topic() or "").endswith("results"):
            self.results[fields["job_id"]] += 1
            self.statuses[fields["status"]] += 1
        else:
            self.escalations[fields["job_id"]] += 1
        self.attempts += fields["attempts"]

    def close(self) -> None:
        """Let go."""
        if self._consumer is not None:
            self._consumer.close()

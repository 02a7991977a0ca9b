"""What producers and consumers of jobs need of Kafka: an idempotent publisher, a reader of committed results."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from streams.errors import BrokerAway
from streams.kafka.connection import Connection, met
from streams.records import Address, Headers, Raw
from streams.topics import JOBS

TIMEOUT_S = 15.0
_NO_LEADER_YET = frozenset({KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE})

Acknowledged = Callable[[Address | None, str | None], None]
"""Called with the record's address, or with what went wrong; on the publisher's own thread."""


@dataclass(frozen=True, slots=True)
class Read:
    """A record as a consumer sees it; `timestamp_ms` is the broker's or producer's time."""

    address: Address
    raw: Raw
    timestamp_ms: int


class JobPublisher:
    """An idempotent producer with its own polling thread; `publish` blocks while its queue is full (back-pressure)."""

    def __init__(self, connection: Connection, linger_ms: float = 5) -> None:
        self._connection = connection
        self._producer = connection.idempotent_producer(linger_ms)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="job-publisher", daemon=True)
        self._thread.start()

    def _poll(self) -> None:
        met(self._producer, self._connection.topic(JOBS.name))
        while not self._closed.is_set():
            self._producer.poll(0.1)

    def publish(
        self, topic: str, value: bytes, key: bytes | None, headers: Headers, acknowledged: Acknowledged
    ) -> None:
        """Queue a record; `acknowledged` is called once, when the broker has answered.

        Raises:
            BrokerAway: the queue stayed full for 15 s, or the record can't be sent at all.
        """

        def told(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                acknowledged(None, error.str())
            else:
                acknowledged(Address(topic, message.partition() or 0, message.offset() or 0), None)

        give_up = time.monotonic() + TIMEOUT_S
        while True:
            try:
                name = self._connection.topic(topic)
                self._producer.produce(name, value, key, headers=list(headers), on_delivery=told)
            except BufferError as error:
                if time.monotonic() > give_up:
                    raise BrokerAway(
                        f"{topic}: the queue stayed full for {TIMEOUT_S:.0f} s: is the broker up?"
                    ) from error
                time.sleep(0.01)
            except KafkaException as error:
                raise BrokerAway(f"{topic}: {error.args[0].str()}") from error
            else:
                return

    def close(self) -> None:
        """Send what is queued, then stop."""
        self._producer.flush(TIMEOUT_S)
        self._closed.set()
        self._thread.join(5)


class Reader:
    """All partitions of some topics without a group, from the ends as they were captured, or from the beginning."""

    def __init__(self, connection: Connection, topics: Sequence[str], *, from_start: bool = False) -> None:
        self._connection = connection
        self._consumer = connection.consumer(f"{connection.prefix}{connection.application}.reader")
        try:
            self._consumer.assign(self._places(topics, from_start=from_start))
        except KafkaException as error:
            self._consumer.close()
            raise BrokerAway(f"{', '.join(topics)} at {connection.bootstrap}: {error.args[0].str()}") from error

    def _places(self, topics: Iterable[str], *, from_start: bool) -> list[TopicPartition]:
        places = []
        for topic in topics:
            name = self._connection.topic(topic)
            found = self._consumer.list_topics(name, timeout=TIMEOUT_S).topics[name]
            if found.error is not None:
                raise BrokerAway(f"topic {name} at {self._connection.bootstrap}: {found.error.str()}")
            for partition in found.partitions:
                place = TopicPartition(name, partition)
                low, high = self._ends(place)
                places.append(TopicPartition(name, partition, low if from_start else high))
        return places

    def _ends(self, place: TopicPartition) -> tuple[int, int]:
        """The first and the next offset of a partition; one that was made a moment ago has no leader yet."""
        give_up = time.monotonic() + TIMEOUT_S
        while True:
            try:
                return self._consumer.get_watermark_offsets(place, TIMEOUT_S)
            except KafkaException as error:
                if error.args[0].code() not in _NO_LEADER_YET or time.monotonic() > give_up:
                    raise
                time.sleep(0.05)

    def read(self, limit: int, wait_s: float) -> list[Read]:
        """Up to `limit` committed records, waiting `wait_s` seconds for the first."""
        first = self._consumer.poll(wait_s)
        if first is None:
            return []
        rest = self._consumer.consume(limit - 1, 0) if limit > 1 else []
        return [self._read(message) for message in (first, *rest) if message.error() is None]

    def _read(self, message: Message) -> Read:
        address = Address(
            self._connection.name_of(message.topic() or ""), message.partition() or 0, message.offset() or 0
        )
        headers = cast("Headers", tuple(message.headers() or ()))
        return Read(address, Raw(message.key(), message.value(), headers), message.timestamp()[1])

    def close(self) -> None:
        """Let go of the partitions."""
        self._consumer.close()

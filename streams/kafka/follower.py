"""Follows control and registry: read to their end before the first job, then for ever (EXACTLY_ONCE.md 2.5)."""

import threading
from collections.abc import Callable

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from schemas.avro import Codec, Unreadable
from schemas.control import Bundle, Control
from streams.errors import BrokerAway
from streams.kafka.connection import Connection
from streams.topics import CONTROL, REGISTRY

log = structlog.get_logger(__name__)

START_TIMEOUT_S = 30.0


class Follower:
    """One thread that reads both topics without a group. Its callbacks run on that thread, one at a time."""

    def __init__(
        self,
        connection: Connection,
        on_control: Callable[[int, Control], None],
        on_bundle: Callable[[Bundle], None],
    ) -> None:
        self._connection = connection
        self._control = Codec("Control", Control)
        self._bundle = Codec("Bundle", Bundle)
        self._on_control = on_control
        self._on_bundle = on_bundle
        self._ends: dict[str, int] = {}
        self._at_end = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Read to the end as it is now; return when everything up to it is folded.

        Raises:
            BrokerAway: the topics could not be read to their end within 30 s.
        """
        self._thread.start()
        if not self._at_end.wait(START_TIMEOUT_S):
            raise BrokerAway(
                f"control and registry could not be read to their end from {self._connection.bootstrap} within "
                f"{START_TIMEOUT_S:.0f} s: is the broker up (penstock status), and do the topics exist?"
            )

    @property
    def following(self) -> bool:
        """Whether new switches still arrive."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Stop following."""
        self._closed.set()
        self._thread.join(5)

    def _run(self) -> None:
        names = [self._connection.topic(topic.name) for topic in (REGISTRY, CONTROL)]
        consumer = self._connection.consumer(
            f"{self._connection.prefix}{self._connection.application}.control",
            **{"isolation.level": "read_uncommitted"},
        )
        try:
            self._ends = {name: self._end(consumer, name) for name in names}
            consumer.assign([TopicPartition(name, 0, OFFSET_BEGINNING) for name in names])
            self._follow(consumer)
        except KafkaException:
            log.exception("control can't be followed")
        finally:
            consumer.close()

    def _end(self, consumer: Consumer, name: str) -> int:
        """Where the log ends now, asked until its leader answers: right after creation there is none yet."""
        while True:
            try:
                return int(consumer.get_watermark_offsets(TopicPartition(name, 0), 10)[1])
            except KafkaException:
                if self._closed.wait(0.1):
                    raise

    def _follow(self, consumer: Consumer) -> None:
        self._check_end(consumer)
        while not self._closed.is_set():
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                self._fold(message.topic() or "", message.offset() or 0, message.value())
            if not self._at_end.is_set():
                self._check_end(consumer)

    def _check_end(self, consumer: Consumer) -> None:
        """At the end when both positions have reached the ends taken at start."""
        partitions = [TopicPartition(name, 0) for name in self._ends]
        reached = {place.topic: place.offset for place in consumer.position(partitions)}
        if all(end == 0 or reached.get(name, -1) >= end for name, end in self._ends.items()):
            self._at_end.set()

    def _fold(self, topic: str, offset: int, value: bytes | None) -> None:
        if value is None:
            return
        try:
            if topic == self._connection.topic(CONTROL.name):
                self._on_control(offset, self._control.decode(value))
            else:
                self._on_bundle(self._bundle.decode(value))
        except Unreadable as error:
            log.warning("unreadable control record, left out", topic=topic, offset=offset, error=str(error))

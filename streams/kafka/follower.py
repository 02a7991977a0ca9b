"""Follows control, registry and the newest contexts: read to their end, then for ever (EXACTLY_ONCE.md 2.5)."""

import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition

from schemas.avro import Codec, Unreadable
from schemas.control import Bundle, Control
from schemas.side import SnapshotVersion
from schemas.snapshot import read_snapshot_version
from streams.errors import BrokerAway
from streams.kafka.connection import AT_ONCE, Connection, met
from streams.topics import CONTROL, REGISTRY, SNAPSHOT_VERSIONS

log = structlog.get_logger(__name__)

START_TIMEOUT_S = 30.0
CLIENT_S = 8.0
"""Seconds that one client has to reach the end: it takes less than one, but for a broker that has just come back."""
AGAIN_S = 0.2
POLL_S = 0.1
BRIEF_MS = 10


class Follower:
    """One thread that reads these topics without a group. Its callbacks run on that thread, one at a time."""

    def __init__(
        self,
        connection: Connection,
        on_control: Callable[[int, Control], None],
        on_bundle: Callable[[Bundle], None],
        on_snapshot: Callable[[SnapshotVersion], None] | None = None,
        *,
        brief: bool = False,
    ) -> None:
        """`brief` is for who only looks at what is there: the broker may not wait with an empty answer."""
        self._connection = connection
        self._brief = brief
        self._control = Codec("Control", Control)
        self._bundle = Codec("Bundle", Bundle)
        self._fold_into: dict[str, Callable[[int, bytes], None]] = {
            connection.topic(REGISTRY.name): lambda _, value: on_bundle(self._bundle.decode(value)),
            connection.topic(CONTROL.name): lambda offset, value: on_control(offset, self._control.decode(value)),
        }
        if on_snapshot is not None:
            self._fold_into[connection.topic(SNAPSHOT_VERSIONS.name)] = lambda _, value: on_snapshot(
                read_snapshot_version(value)
            )
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
        while not self._closed.is_set() and not self._at_end.is_set():
            try:
                self._follow()
            except KafkaException as error:
                log.warning("control can't be followed", error=error.args[0].str())
                self._closed.wait(AGAIN_S)

    def _follow(self) -> None:
        """Read from the beginning, then for ever; give up if the end is not reached in time: then a new client tries.

        One was seen that said for half a minute that a topic of a healthy broker had no partitions.
        """
        names = list(self._fold_into)
        # The last record may be a transaction's end, which no reader is given: only the client knows where a log ends.
        told: dict[str, Any] = {"enable.partition.eof": True}
        if self._brief:
            told |= {"fetch.wait.max.ms": BRIEF_MS, **AT_ONCE}
        group = f"{self._connection.prefix}{self._connection.application}.control"
        consumer = met(self._connection.consumer(group, **told), *names)
        poll_s = BRIEF_MS / 1000 if self._brief else POLL_S
        missing, give_up = set(names), time.monotonic() + CLIENT_S
        try:
            consumer.assign([TopicPartition(name, 0, OFFSET_BEGINNING) for name in names])
            while not self._closed.is_set() and (not missing or time.monotonic() < give_up):
                if (message := consumer.poll(poll_s)) is None:
                    continue
                error, name = message.error(), message.topic() or ""
                if error is None:
                    self._fold(name, message.offset() or 0, message.value())
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 -- librdkafka's own name
                    missing.discard(name)
                    if not missing:
                        self._at_end.set()
        finally:
            consumer.close()

    def _fold(self, topic: str, offset: int, value: bytes | None) -> None:
        if value is None:
            return
        try:
            self._fold_into[topic](offset, value)
        except Unreadable as error:
            log.warning("unreadable control record, left out", topic=topic, offset=offset, error=str(error))

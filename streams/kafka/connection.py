"""How to reach the broker, and the settings that the protocol rests on (EXACTLY_ONCE.md 1.2, 2, 6.2, 10)."""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

_told = 0.0

FETCH_WAIT_MS = 250
"""A broker answers a waiting fetch as soon as there is something, so a short wait wins nothing: with 5 ms the idle
worker took 11 % of a core and the broker 31 %, with 100 ms 2.9 % and 9 %, with 400 ms 1.8 %. But partitions that a
member has just been given are asked for with its next fetch, so a start takes longer by as much."""


AT_ONCE: Mapping[str, Any] = {"enable.sparse.connections": False}
"""For clients that live for seconds: they connect to all brokers at once, not to each when it is needed first. A
transactional id is had after 0.015 s instead of 0.07."""
MEET_S = 2.0
"""Seconds that a client may take to find out where a topic is before it is used all the same."""

Client = TypeVar("Client", Consumer, Producer)


def met(client: Client, *topics: str) -> Client:
    """The client, once it knows where these topics are.

    One that is used before that waits for a timer of librdkafka's: a consumer was at a short log's end after 0.53 s
    instead of 0.085, an idempotent producer's first record was acknowledged after 0.51 s instead of 0.06.
    """
    with contextlib.suppress(KafkaException):  # whoever uses it is told, and says it better
        for topic in topics:
            client.list_topics(topic, MEET_S)
    return client


def _tell_once(error: KafkaError) -> None:
    """Say that the brokers are away, at most every ten seconds: librdkafka keeps trying by itself."""
    global _told  # noqa: PLW0603 -- one process, one notice
    if error.code() == KafkaError._ALL_BROKERS_DOWN and time.monotonic() - _told > 10:  # noqa: SLF001
        import structlog  # noqa: PLC0415 -- clients load this module too: a third of a second, for a line seldom written

        _told = time.monotonic()
        structlog.get_logger(__name__).warning("no broker can be reached; trying on", error=error.str())


@dataclass(frozen=True)
class Connection:
    """One cluster as one application uses it; `prefix` stands before every topic, group and transactional id."""

    bootstrap: str
    prefix: str = ""
    application: str = "penstock"
    instance: str = "local"
    transaction_timeout_ms: int = 10_000
    security: Mapping[str, str] = field(default_factory=dict, repr=False)

    def topic(self, name: str) -> str:
        """A topic's name in Kafka."""
        return self.prefix + name

    def name_of(self, topic: str) -> str:
        """A topic's name in the map."""
        return topic.removeprefix(self.prefix)

    def group(self, stage: str) -> str:
        """The consumer group of a stage."""
        return f"{self.prefix}{self.application}.{stage}"

    def _base(self) -> dict[str, Any]:
        return {
            "bootstrap.servers": self.bootstrap,
            "log_level": 2,  # a broker that is away is told by error_cb, not by a line for every try to reach it
            "error_cb": _tell_once,
            "reconnect.backoff.max.ms": 1000,
            **self.security,
        }

    def admin(self) -> AdminClient:
        """An administrative client."""
        return AdminClient(self._base())

    def consumer(self, group: str, instance_id: str | None = None, **more: Any) -> Consumer:
        """A consumer that never commits or resets by itself; static membership where an instance id is given."""
        settings = self._base() | {
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "partition.assignment.strategy": "cooperative-sticky",
            "fetch.wait.max.ms": FETCH_WAIT_MS,
            "fetch.queue.backoff.ms": 5,
            "queued.max.messages.kbytes": 4096,
            # A static member that stops says nothing: the others take over after this. librdkafka's 45 s made 60 jobs
            # wait 47 s after a worker had left for good, 10 s made them wait 11 s.
            "session.timeout.ms": 10_000,
            "topic.metadata.refresh.interval.ms": 30_000,
        }
        if instance_id is not None:
            settings["group.instance.id"] = instance_id
        return Consumer(settings | more)

    def transactional_producer(self, transactional_id: str, **more: Any) -> Producer:
        """A producer for one slot's transactions: without the short backoff, back-to-back ones cost 90 ms each."""
        return Producer(
            self._base()
            | {
                "transactional.id": transactional_id,
                "transaction.timeout.ms": self.transaction_timeout_ms,
                "acks": "all",
                "linger.ms": 0,
                "retry.backoff.ms": 5,
                "compression.type": "lz4",
                "message.max.bytes": 16 * 1024 * 1024,
                "partitioner": "consistent_random",
            }
            | more
        )

    def unhurt_producer(self) -> Producer:
        """A producer of one record that does no harm twice, should its acknowledgement be lost: it needs no id first.

        The record is acknowledged after 0.01 s, an idempotent producer's after 0.06 to 0.5 s.
        """
        return Producer(self._base() | {"acks": "all", "linger.ms": 0, "partitioner": "consistent_random"})

    def hasty_producer(self) -> Producer:
        """A producer for what is out of date before a repetition of it could help."""
        return Producer(
            self._base()
            | {
                "acks": "1",
                "linger.ms": 5,
                "message.timeout.ms": 5_000,
                "queue.buffering.max.messages": 10_000,
                "compression.type": "lz4",
                "partitioner": "consistent_random",
            }
        )

    def idempotent_producer(self, linger_ms: float = 5) -> Producer:
        """A producer for records outside transactions: jobs, control, registry."""
        return Producer(
            self._base()
            | {
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": linger_ms,
                "compression.type": "lz4",
                "message.max.bytes": 16 * 1024 * 1024,
                "partitioner": "consistent_random",
            }
        )

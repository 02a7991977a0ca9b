"""What `penstock doctor` asks a broker before it judges: one snapshot, so that the judgement is pure."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import ConsumerGroupType, KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from streams.errors import BrokerAway, StreamsError
from streams.groups import GROUPS
from streams.kafka.admin import Change, ensure_topics, plan
from streams.kafka.connection import Connection
from streams.kafka.lags import Lag, lags
from streams.topics import DAY_MS, TOPICS, Settings, Topic

TIMEOUT_S: Final = 15.0
CLOCK: Final = Topic("doctor", Settings(partitions=1, retention_ms=DAY_MS, append_time=True))
"""One small record a look: the broker stamps it with its own time."""
_TRANSACTIONS: Final = "__transaction_state"
_VERSION: Final = re.compile(r"(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """A topic as it is."""

    partitions: int
    replicas: int
    in_sync: int
    """The fewest in-sync replicas that one of its partitions has now."""
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Facts:
    """The broker's answers. Groups are by their full name, topics by the map's."""

    brokers: int
    config: Mapping[str, str]
    topics: Mapping[str, TopicFacts]
    transactions: TopicFacts | None
    groups: Mapping[str, str]
    changes: tuple[Change, ...]
    lags: tuple[Lag, ...]
    transaction_timeout_ms: int = 10_000
    clock_ahead_s: float | None = None
    """How far the broker's clock is ahead of this machine's, give or take `clock_within_s`."""
    clock_within_s: float = 0.0

    @property
    def version(self) -> tuple[int, int] | None:
        """The broker's release as its settings give it away; None: 4.0 or later, which has dropped the setting."""
        told = _VERSION.match(self.config.get("inter.broker.protocol.version", ""))
        return (int(told[1]), int(told[2])) if told else None


def ask(connection: Connection, topics: tuple[Topic, ...] = TOPICS) -> Facts:
    """Ask for everything; some seconds.

    Raises:
        BrokerAway: the broker does not answer, or refuses to: the operator's rights are in `penstock acls`.
    """
    admin = connection.admin()
    try:
        metadata = admin.list_topics(timeout=TIMEOUT_S)
        config = _config(admin, ResourceType.BROKER, str(min(metadata.brokers)))
        described = {
            topic.name: _topic(admin, metadata.topics[name])
            for topic in topics
            if (name := connection.topic(topic.name)) in metadata.topics
        }
        internal = metadata.topics.get(_TRANSACTIONS)
        groups = _groups(connection, admin)
        transactions = _topic(admin, internal) if internal is not None else None
    except KafkaException as error:
        raise BrokerAway(f"{connection.bootstrap} could not be asked: {error.args[0].str()}") from error
    ahead_s, within_s = _clock(connection)
    return Facts(
        brokers=len(metadata.brokers),
        config=config,
        topics=described,
        transactions=transactions,
        groups=groups,
        changes=plan(connection, topics),
        lags=lags(connection),
        transaction_timeout_ms=connection.transaction_timeout_ms,
        clock_ahead_s=ahead_s,
        clock_within_s=within_s,
    )


def _config(admin: AdminClient, kind: ResourceType, name: str) -> dict[str, str]:
    resource = ConfigResource(kind, name)
    found = admin.describe_configs([resource], request_timeout=TIMEOUT_S)[resource].result(TIMEOUT_S)
    return {key: entry.value for key, entry in found.items() if entry.value is not None}


def _topic(admin: AdminClient, metadata: Any) -> TopicFacts:
    partitions = metadata.partitions.values()
    return TopicFacts(
        partitions=len(metadata.partitions),
        replicas=min(len(partition.replicas) for partition in partitions),
        in_sync=min(len(partition.isrs) for partition in partitions),
        config=_config(admin, ResourceType.TOPIC, metadata.topic),
    )


def _groups(connection: Connection, admin: AdminClient) -> dict[str, str]:
    """The protocol of each of our groups that exists."""
    ours = {connection.group(group.name) for group in GROUPS}
    found = admin.list_consumer_groups(request_timeout=TIMEOUT_S).result(TIMEOUT_S).valid
    new = ConsumerGroupType.CONSUMER
    return {
        one.group_id: "consumer" if getattr(one, "type", None) == new else "classic"
        for one in found
        if one.group_id in ours
    }


def _clock(connection: Connection) -> tuple[float | None, float]:
    """How far the broker is ahead, and within how much: it stamps a record; unknown if that is not allowed here."""
    told: list[tuple[KafkaError | None, Message]] = []
    try:
        ensure_topics(connection, [CLOCK])
        producer = connection.idempotent_producer(linger_ms=0)
        _stamp(producer, connection.topic(CLOCK.name), told)  # the first one pays for the connection
        told.clear()
        before = time.time()
        _stamp(producer, connection.topic(CLOCK.name), told)
        after = time.time()
    except (KafkaException, StreamsError):
        return None, 0.0
    if not told or told[0][0] is not None:
        return None, 0.0
    stamped = told[0][1].timestamp()[1] / 1000
    return stamped - (before + after) / 2, (after - before) / 2 + 0.001


def _stamp(producer: Producer, topic: str, told: list[tuple[KafkaError | None, Message]]) -> None:
    producer.produce(topic, b"", on_delivery=lambda error, message: told.append((error, message)))
    producer.flush(TIMEOUT_S)

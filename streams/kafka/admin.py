"""Topics created and checked, and how far each stage is behind."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import ConfigResource, NewTopic, OffsetSpec, ResourceType

from streams.errors import BrokerAway, TopicMismatch
from streams.kafka.connection import Connection
from streams.topics import JOBS, TOPICS, Topic

TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A setting of an existing topic that is not as the map needs it."""

    topic: str
    setting: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.setting} is {self.found}, expected {self.expected}"


def ensure_topics(connection: Connection, topics: Iterable[Topic] = TOPICS, replication: int = -1) -> list[str]:
    """Create what is missing and check what exists; returns the names created.

    Raises:
        BrokerAway: the broker does not answer.
        TopicMismatch: a topic that exists has settings that break a promise; each is named with the mend.
    """
    topics = tuple(topics)
    admin = connection.admin()
    try:
        existing = admin.list_topics(timeout=TIMEOUT_S).topics
    except KafkaException as error:
        raise BrokerAway(f"the broker at {connection.bootstrap} does not answer: {error.args[0].str()}") from error
    missing = [topic for topic in topics if connection.topic(topic.name) not in existing]
    created = _create(connection, missing, replication)
    _check(
        connection,
        {topic: len(existing[connection.topic(topic.name)].partitions) for topic in topics if topic not in missing},
    )
    return created


def _create(connection: Connection, topics: list[Topic], replication: int) -> list[str]:
    if not topics:
        return []
    new = [
        NewTopic(connection.topic(topic.name), topic.settings.partitions, replication, config=topic.settings.config())
        for topic in topics
    ]
    admin = connection.admin()  # its futures die with it
    for name, future in admin.create_topics(new, operation_timeout=TIMEOUT_S).items():
        try:
            future.result(TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another process was first
                raise BrokerAway(f"topic {name} could not be created: {error.args[0].str()}") from error
    return [topic.name for topic in topics]


def _check(connection: Connection, partitions: Mapping[Topic, int]) -> None:
    wrong = [
        Mismatch(topic.name, "partitions", str(found), str(topic.settings.partitions))
        for topic, found in partitions.items()
        if topic.settings.partitions == 1 and found != 1
    ]
    for topic, found in _configs(connection, list(partitions)).items():
        for name in ("cleanup.policy", "message.timestamp.type", "max.message.bytes"):
            expected = topic.settings.config().get(name)
            if expected is None or _good_enough(name, found.get(name, ""), expected):
                continue
            wrong.append(Mismatch(topic.name, name, found.get(name, "unset"), expected))
    if wrong:
        lines = "\n  ".join(map(str, wrong))
        raise TopicMismatch(
            f"topics that break a promise:\n  {lines}\nMend them with kafka-configs --alter --add-config"
        )


def _good_enough(name: str, found: str, expected: str) -> bool:
    return int(found or 0) >= int(expected) if name == "max.message.bytes" else found == expected


def _configs(connection: Connection, topics: list[Topic]) -> dict[Topic, dict[str, str]]:
    resources = {ConfigResource(ResourceType.TOPIC, connection.topic(topic.name)): topic for topic in topics}
    if not resources:
        return {}
    admin = connection.admin()
    found = admin.describe_configs(list(resources), request_timeout=TIMEOUT_S)
    return {
        resources[resource]: {name: entry.value for name, entry in future.result(TIMEOUT_S).items()}
        for resource, future in found.items()
    }


def lag(connection: Connection, reads: Mapping[str, str]) -> dict[str, int]:
    """Records that each stage (by name, with the topic it reads) has not committed yet.

    Raises:
        BrokerAway: the broker does not answer.
    """
    admin = connection.admin()
    try:
        existing = admin.list_topics(timeout=TIMEOUT_S).topics
        return {stage: _lag(connection, stage, topic, existing) for stage, topic in reads.items()}
    except KafkaException as error:
        raise BrokerAway(f"the broker at {connection.bootstrap} does not answer: {error.args[0].str()}") from error


def _lag(connection: Connection, stage: str, topic: str, existing: Mapping[str, object]) -> int:
    name, admin = connection.topic(topic), connection.admin()
    if name not in existing:
        return 0
    partitions = [TopicPartition(name, index) for index in existing[name].partitions]  # type: ignore[attr-defined]
    ends = {
        place: future.result(TIMEOUT_S).offset
        for place, future in admin.list_offsets(
            {place: OffsetSpec.latest() for place in partitions}, isolation_level=IsolationLevel.READ_COMMITTED
        ).items()
    }
    starts = {
        place: future.result(TIMEOUT_S).offset
        for place, future in admin.list_offsets({place: OffsetSpec.earliest() for place in partitions}).items()
    }
    group = connection.group(stage)
    answer = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, partitions)])[group].result(
        TIMEOUT_S
    )
    # Where stages write, a transaction's marker follows the last record: it is no record that waits.
    markers = 0 if topic == JOBS.name else 1
    at = {place: place.offset if place.offset >= 0 else starts[place] for place in answer.topic_partitions}
    return sum(max(0, ends[place] - offset - markers) for place, offset in at.items())

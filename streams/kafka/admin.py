"""Topics as the map needs them: what would be created or changed, what is, and what can't be without a choice."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from streams.errors import BrokerAway, TopicMismatch
from streams.kafka.connection import Connection
from streams.topics import (
    ANSWERED,
    BY_SLOT,
    PARKED,
    PRODUCERS,
    RETRIES_5M,
    RETRIES_10S,
    ROUTED,
    TOPICS,
    VALIDATED,
    Topic,
)

TIMEOUT_S: Final = 15.0
ANSWER_S: Final = 20.0
TRIES: Final = 3

GROWABLE: Final = frozenset(
    {*PRODUCERS, *(topic.name for topic in (ROUTED, ANSWERED, VALIDATED, RETRIES_10S, RETRIES_5M, PARKED))}
)
"""Worked on in any order by whoever is free: more partitions mean more workers, and no key must stay where it was."""

_NEEDED: Final = frozenset({"partitions", "cleanup.policy", "message.timestamp.type", "max.message.bytes"})
"""What a worker refuses to start without; a retention that is too short loses records only when it falls behind."""
_MAPPED: Final = {topic.name: topic.settings for topic in TOPICS}


@dataclass(frozen=True, slots=True)
class Change:
    """What is not as the map needs it. `setting` is Kafka's name, or `topic`, or `partitions`.

    `refused` says why it is not made, and what to choose from; `loses` says which records go when it is made.
    """

    topic: str
    setting: str
    found: str
    wanted: str
    refused: str = ""
    loses: str = ""

    def __str__(self) -> str:
        if self.setting == "topic":
            return f"{self.topic}: is missing; {self.wanted}"
        return f"{self.topic}: {self.setting} is {self.found}, expected {self.wanted}"


def plan(connection: Connection, topics: Iterable[Topic] = TOPICS) -> tuple[Change, ...]:
    """What `apply` would do, and what it would refuse.

    Raises:
        BrokerAway: the broker does not answer.
    """
    admin = connection.admin()
    try:
        existing = admin.list_topics(timeout=TIMEOUT_S).topics
        present = [topic for topic in topics if connection.topic(topic.name) in existing]
        configs = _configs(connection, present)
    except KafkaException as error:
        raise BrokerAway(f"the broker at {connection.bootstrap} does not answer: {error.args[0].str()}") from error
    changes: list[Change] = []
    for topic in topics:
        if topic not in configs:
            settings = {"partitions": str(topic.settings.partitions), **topic.settings.config()}
            wanted = ", ".join(f"{name}={value}" for name, value in settings.items())
            changes.append(Change(topic.name, "topic", "missing", wanted))
            continue
        changes += _partitions(topic, len(existing[connection.topic(topic.name)].partitions))
        changes += _settings(topic, configs[topic])
    return tuple(changes)


def apply(
    connection: Connection, changes: Sequence[Change], topics: Iterable[Topic] = TOPICS, replication: int = -1
) -> None:
    """Make the changes of a plan that are not refused.

    Raises:
        BrokerAway: the broker refused one, or did not answer; those before it are made.
    """
    admin, wanted = connection.admin(), {topic.name: topic for topic in topics}
    made = [change for change in changes if not change.refused]
    missing = [wanted[change.topic] for change in made if change.setting == "topic"]
    _create(connection, missing, replication)
    more = [
        NewPartitions(connection.topic(change.topic), int(change.wanted))
        for change in made
        if change.setting == "partitions"
    ]
    if more:
        _settle(admin.create_partitions(more))
    altered: dict[str, list[ConfigEntry]] = {}
    for change in made:
        if change.setting not in {"topic", "partitions"}:
            entry = ConfigEntry(change.setting, change.wanted, incremental_operation=AlterConfigOpType.SET)
            altered.setdefault(connection.topic(change.topic), []).append(entry)
    resources = [
        ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries) for name, entries in altered.items()
    ]
    if resources:
        _settle(admin.incremental_alter_configs(resources))


def require_topics(connection: Connection, names: Iterable[str]) -> None:
    """Topics that others have made must be there.

    Raises:
        BrokerAway: the broker does not answer.
        TopicMismatch: there is none of that name.
    """
    try:
        existing = connection.admin().list_topics(timeout=TIMEOUT_S).topics
    except KafkaException as error:
        raise BrokerAway(f"the broker at {connection.bootstrap} does not answer: {error.args[0].str()}") from error
    for name in names:
        if connection.topic(name) not in existing:
            raise TopicMismatch(f"there is no topic {connection.topic(name)}: make it, or mend [source] of the project")


def ensure_topics(connection: Connection, topics: Iterable[Topic] = TOPICS, replication: int = -1) -> list[str]:
    """Create what is missing and check what exists; returns the names created.

    Raises:
        BrokerAway: the broker does not answer.
        TopicMismatch: a topic that exists has settings that break a promise; each is named with the mend.
    """
    topics = tuple(topics)
    changes = plan(connection, topics)
    wrong = [
        change
        for change in changes
        if change.setting in _NEEDED and not (change.setting == "partitions" and change.topic in GROWABLE)
    ]
    if wrong:
        lines = "\n  ".join(f"{change}{': ' if change.refused else ''}{change.refused}" for change in wrong)
        raise TopicMismatch(
            f"topics that break a promise:\n  {lines}\nMend them with `penstock topics apply`, or give this pipeline "
            "topics of its own with another prefix"
        )
    missing = {change.topic for change in changes if change.setting == "topic"}
    _create(connection, [topic for topic in topics if topic.name in missing], replication)
    return [topic.name for topic in topics if topic.name in missing]


# --- what differs ---------------------------------------------------------------------------------------------------


def _partitions(topic: Topic, found: int) -> Iterator[Change]:
    wanted = topic.settings.partitions
    if found == wanted:
        return
    change = Change(topic.name, "partitions", str(found), str(wanted))
    may_grow = topic.name in GROWABLE or topic.name in BY_SLOT
    if may_grow and found > wanted:
        mapped = _MAPPED.get(topic.name)
        if mapped is not None and wanted != mapped.partitions:  # somebody asked for fewer
            refused = f"Kafka can't take partitions away; set partitions.{topic.name} to {found} or more"
            yield Change(topic.name, "partitions", str(found), str(wanted), refused)
        return
    if may_grow:
        yield change
        return
    refused = (
        "its records lie by key, and what is remembered of a key lies beside it: another count would part them. "
        "Choose: a prefix of its own for a new set of topics; or, once `penstock lag` shows nothing waiting, stop all "
        "workers, delete the topic (admitted, spend and routing-state together) and `penstock topics apply`"
    )
    yield Change(change.topic, change.setting, change.found, change.wanted, refused)


def _settings(topic: Topic, found: Mapping[str, str]) -> Iterator[Change]:
    for name, wanted in topic.settings.config().items():
        value = found.get(name, "")
        if value == wanted:
            continue
        if name == "max.message.bytes" and int(value or 0) >= int(wanted):
            continue
        loses = ""
        if name == "retention.ms" and (int(value or -1) < 0 or int(value) > int(wanted)):
            if topic.name in _MAPPED and _MAPPED[topic.name].config().get(name) == wanted:
                continue  # longer than the map asks for keeps every promise
            loses = f"records older than {int(wanted) / 3_600_000:g} h"
        yield Change(topic.name, name, value or "unset", wanted, loses=loses)


def _configs(connection: Connection, topics: Sequence[Topic]) -> dict[Topic, dict[str, str]]:
    """The topics' settings. A client under which the broker restarts may wait for ever, so a new one asks again.

    Raises:
        BrokerAway: none was answered.
    """
    resources = {ConfigResource(ResourceType.TOPIC, connection.topic(topic.name)): topic for topic in topics}
    if not resources:
        return {}
    for _ in range(TRIES - 1):
        with contextlib.suppress(BrokerAway):
            return _described(connection, resources)
    return _described(connection, resources)


def _described(connection: Connection, resources: Mapping[ConfigResource, Topic]) -> dict[Topic, dict[str, str]]:
    admin = connection.admin()  # its futures die with it
    found = admin.describe_configs(list(resources), request_timeout=ANSWER_S)
    return {
        resources[resource]: {name: entry.value for name, entry in _answer(future).items()}
        for resource, future in found.items()
    }


def _answer(future: Any) -> Any:
    """What the broker says.

    Raises:
        BrokerAway: it said nothing.
    """
    try:
        return future.result(ANSWER_S)
    except TimeoutError as late:
        raise BrokerAway(f"the broker did not answer within {ANSWER_S:g} s: is it overloaded?") from late


# --- making it so ---------------------------------------------------------------------------------------------------


def _create(connection: Connection, topics: Sequence[Topic], replication: int) -> None:
    if not topics:
        return
    new = [
        NewTopic(connection.topic(topic.name), topic.settings.partitions, replication, config=topic.settings.config())
        for topic in topics
    ]
    admin = connection.admin()  # its futures die with it
    _settle(admin.create_topics(new, operation_timeout=TIMEOUT_S))


def _settle(asked: Mapping[Any, Any]) -> None:
    for what, future in asked.items():
        try:
            _answer(future)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another process was first
                name = getattr(what, "name", what)
                raise BrokerAway(f"topic {name} could not be made so: {error.args[0].str()}") from error

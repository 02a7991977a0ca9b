"""The topics as this project's settings want them: the map's, with the project's partitions, retention and replicas."""

from dataclasses import replace

from penstock.settings import Settings, SettingsError
from streams.kafka.admin import GROWABLE, ensure_topics
from streams.kafka.connection import Connection
from streams.topics import TOPICS, Topic


def topics(settings: Settings) -> tuple[Topic, ...]:
    """Every topic.

    Raises:
        SettingsError: `partitions` or `retention_hours` names a topic that can't have one of its own.
    """
    _refuse("partitions", settings.partitions, GROWABLE, "its records lie by key or by slot")
    deleted = frozenset(topic.name for topic in TOPICS if not topic.settings.compact)
    _refuse("retention_hours", settings.retention_hours, deleted, "it keeps the last record of each key for ever")
    return tuple(_changed(topic, settings) for topic in TOPICS)


def replication(settings: Settings) -> int:
    """Replicas of a new topic; -1 leaves it to the broker."""
    return settings.replication or -1


def ensure(settings: Settings, connection: Connection) -> list[str]:
    """Create what is missing and check what exists; returns the names created.

    Raises:
        StreamsError: as `streams.kafka.admin.ensure_topics` says.
        SettingsError: as `topics` says.
    """
    return ensure_topics(connection, topics(settings), replication(settings))


def _changed(topic: Topic, settings: Settings) -> Topic:
    wanted = topic.settings
    partitions = settings.partitions.get(topic.name, wanted.partitions)
    hours = settings.retention_hours.get(topic.name)
    retention_ms = wanted.retention_ms if hours is None else int(hours * 3_600_000)
    return replace(topic, settings=replace(wanted, partitions=partitions, retention_ms=retention_ms))


def _refuse(setting: str, given: dict[str, int] | dict[str, float], allowed: frozenset[str], why: str) -> None:
    for name in given:
        if name not in allowed:
            exists = any(topic.name == name for topic in TOPICS)
            said = why if exists else "there is no such topic"
            raise SettingsError(f"{setting}.{name}: {said}; it can be set for {', '.join(sorted(allowed))}")

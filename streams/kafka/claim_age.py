"""How old a claim must be before no record can refer to it any more: what the broker keeps decides."""

import math
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import ConfigResource, ResourceType

from streams.errors import BrokerAway
from streams.kafka.connection import Connection
from streams.tiers import WAITING
from streams.topics import DEAD_LETTERS, FLOW

TIMEOUT_S: Final = 15.0
LONGEST_DEADLINE_S: Final = 30 * 86_400.0
"""What a job may have at most; until then it may wait and be written anew, with the claim that it has."""


def needed_s(connection: Connection) -> float:
    """Seconds after which a claim is surely not needed; infinite if a topic keeps its records for ever.

    A job's longest life, then the life of a record that nobody reads, then that of a dead letter.

    Raises:
        BrokerAway: the broker does not answer.
    """
    kept = _retention_s(connection, {*FLOW, *WAITING, DEAD_LETTERS.name})
    letters = kept.pop(DEAD_LETTERS.name, 0.0)
    return LONGEST_DEADLINE_S + max(kept.values(), default=0.0) + letters


def _retention_s(connection: Connection, topics: set[str]) -> dict[str, float]:
    admin = connection.admin()
    try:
        there = admin.list_topics(timeout=TIMEOUT_S).topics
        names = {connection.topic(topic): topic for topic in topics if connection.topic(topic) in there}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        asked = admin.describe_configs(resources, request_timeout=TIMEOUT_S) if resources else {}
        found = {resource.name: future.result(TIMEOUT_S) for resource, future in asked.items()}
    except KafkaException as error:
        raise BrokerAway(f"the broker at {connection.bootstrap} does not answer: {error.args[0].str()}") from error
    millis = {names[name]: int(entries["retention.ms"].value) for name, entries in found.items()}
    return {topic: math.inf if kept < 0 else kept / 1000 for topic, kept in millis.items()}

"""What an operator can do about the memory of ordered stages: see whether it agrees with itself, accept it as it is."""

import threading
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaException

from streams.errors import BrokerAway, StateInUse, StateLost
from streams.kafka.connection import Connection
from streams.kafka.restore import read_states
from streams.ledger import LEDGER
from streams.reviews import CASES
from streams.state import Changelog, PartitionState

CHANGELOGS: Final[dict[str, Changelog[Any]]] = {"routing": LEDGER, "reviews": CASES}
"""The ordered stages, and where they write what they remember."""

TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Memory:
    """What a partition of a stage's memory holds, and what is wrong with it."""

    stage: str
    partition: int
    entries: int
    problem: str | None


def memories(connection: Connection) -> tuple[Memory, ...]:
    """The memory of all ordered stages, read anew from the changelogs.

    Raises:
        BrokerAway: the broker does not answer, or a changelog does not exist.
    """
    return tuple(
        _memory(stage, number, state)
        for stage in CHANGELOGS
        for number, state in sorted(_read(connection, stage).items())
    )


def accept(connection: Connection, stage: str) -> tuple[Memory, ...]:
    """Have a stage take what its changelog holds as the truth.

    Raises:
        StateInUse: a worker runs the stage; it would go on writing what it remembers.
        BrokerAway: the broker does not answer.
    """
    group, admin = connection.group(stage), connection.admin()
    if members := admin.describe_consumer_groups([group])[group].result(TIMEOUT_S).members:
        raise StateInUse(f"{len(members)} worker(s) run the stage {stage}: stop them first")
    states = _read(connection, stage)
    producer = connection.idempotent_producer(linger_ms=0)
    for state in states.values():
        for record in state.accept():
            producer.produce(connection.topic(record.topic), record.value, record.key, state.partition)
    if left := producer.flush(TIMEOUT_S):
        raise BrokerAway(f"{left} records were not acknowledged by {connection.bootstrap}: look again before you start")
    return tuple(_memory(stage, number, state) for number, state in sorted(_read(connection, stage).items()))


def _read(connection: Connection, stage: str) -> dict[int, PartitionState[Any]]:
    changelog, admin = CHANGELOGS[stage], connection.admin()
    topic = connection.topic(changelog.topic.name)
    try:
        found = admin.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
        if found.error is not None:
            raise BrokerAway(f"topic {topic} at {connection.bootstrap}: {found.error.str()}")
        return read_states(connection, admin, changelog, tuple(found.partitions), threading.Event())
    except KafkaException as error:
        raise BrokerAway(f"{topic} at {connection.bootstrap}: {error.args[0].str()}") from error


def _memory(stage: str, number: int, state: PartitionState[Any]) -> Memory:
    try:
        state.restored(expected=False)
    except StateLost as lost:
        return Memory(stage, number, len(state), str(lost))
    return Memory(stage, number, len(state), None)

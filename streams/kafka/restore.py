"""What an ordered stage remembers, read from its changelog before the partition starts (EXACTLY_ONCE.md 4.2)."""

import threading
import time
from collections.abc import Collection, Mapping
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from streams.errors import StateLost
from streams.kafka.connection import Connection, met
from streams.kafka.offsets import offsets
from streams.state import Changelog, PartitionState

log = structlog.get_logger(__name__)

READ_AT_ONCE = 10_000
TIMEOUT_S = 15.0


def restore(
    connection: Connection,
    admin: AdminClient,
    changelog: Changelog[Any],
    expected: Mapping[int, bool],
    give_up: threading.Event,
) -> dict[int, PartitionState[Any]]:
    """The state of each partition; `expected` says of each whether its stage has committed before.

    To be called after the stage's positions were read, so that no transaction of an earlier owner is open.

    Raises:
        StateLost: a changelog does not agree with itself, or with what the stage has committed.
        KafkaException: the broker did not answer.
    """
    began = time.monotonic()
    states = read_states(connection, admin, changelog, tuple(expected), give_up)
    for partition, state in states.items():
        state.restored(expected=expected[partition])
    entries, seconds = sum(map(len, states.values())), round(time.monotonic() - began, 3)
    topic = connection.topic(changelog.topic.name)
    log.info("state restored", topic=topic, partitions=len(states), entries=entries, seconds=seconds)
    return states


def read_states(
    connection: Connection,
    admin: AdminClient,
    changelog: Changelog[Any],
    partitions: Collection[int],
    give_up: threading.Event,
) -> dict[int, PartitionState[Any]]:
    """What the changelog's partitions hold now, committed, and not yet checked; nothing if given up.

    Raises:
        StateLost: a changelog can't be read from its start.
        KafkaException: the broker did not answer.
    """
    topic = connection.topic(changelog.topic.name)
    count = len(admin.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions)
    states = {partition: PartitionState(changelog, partition, count) for partition in partitions}
    # 1. how far each log must be read: its end, not the end of what is committed, which may lag behind the last commit
    ends = offsets(admin, [TopicPartition(topic, partition) for partition in partitions], OffsetSpec.latest())
    marks = {partition: end for (_, partition), end in ends.items()}
    # 2. read each until the broker says that it ends there
    group = f"{connection.prefix}{connection.application}.restore"  # a name only: it joins and commits nothing
    consumer = met(connection.consumer(group, None, **{"enable.partition.eof": True}), topic)
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        _read(consumer, topic, states, marks, give_up)
    finally:
        consumer.close()
    return {} if give_up.is_set() else states


def _read(
    consumer: Consumer,
    topic: str,
    states: dict[int, PartitionState[Any]],
    marks: dict[int, int],
    give_up: threading.Event,
) -> None:
    unread = {partition for partition, mark in marks.items() if mark > 0}
    while unread and not give_up.is_set():
        for message in consumer.consume(READ_AT_ONCE, 0.1):
            error, partition, offset = message.error(), message.partition() or 0, message.offset() or 0
            if error is None:
                states[partition].restore(message.key(), message.value())
            elif error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 -- librdkafka's local codes are named so
                if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 -- as above
                    raise StateLost(f"{topic}/{partition} can't be read from its start: {error.str()}")
                if error.fatal():
                    raise KafkaException(error)
            elif offset >= marks[partition]:
                unread.discard(partition)

"""Committed offsets with their metadata, read so that an open transaction is waited for (EXACTLY_ONCE.md 3.3)."""

import threading
import time
from collections.abc import Sequence

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from streams.kafka.connection import Connection

log = structlog.get_logger(__name__)

AGAIN_S = 0.2
ANSWER_S = 5.0

Place = tuple[str, int]
Committed = tuple[int, str | None]
"""An offset and its metadata."""


def committed(
    connection: Connection,
    group: str,
    partitions: Sequence[TopicPartition],
    timeout_s: float = ANSWER_S,
    *,
    stable: bool = True,
) -> dict[Place, Committed]:
    """What a group has committed, asked by a consumer that is made for it and joins nothing.

    Not `stable`, it is what was committed last, whatever an open transaction may add: for display, never to go on from.

    Raises:
        KafkaException: the broker did not answer in time, as it does while a transaction holds pending offsets.
    """
    consumer = connection.consumer(group, **{"isolation.level": "read_committed" if stable else "read_uncommitted"})
    try:
        return committed_by(consumer, partitions, timeout_s)
    finally:
        consumer.close()


def committed_by(
    consumer: Consumer, partitions: Sequence[TopicPartition], timeout_s: float = ANSWER_S
) -> dict[Place, Committed]:
    """Offset and metadata per (topic, partition); a negative offset means that the group never committed there.

    An AdminClient would do the same, until a connection breaks while it asks a group's coordinator: then an assertion
    of librdkafka's ends the process (librdkafka 4605, 5397).

    Raises:
        KafkaException: the broker did not answer in time.
    """
    answer = consumer.committed([TopicPartition(p.topic, p.partition) for p in partitions], timeout_s)
    for partition in answer:
        if partition.error is not None:
            raise KafkaException(partition.error)
    return {(p.topic, p.partition): (p.offset, p.metadata) for p in answer}


def assign_paused(
    consumer: Consumer,
    partitions: Sequence[TopicPartition],
    give_up: threading.Event,
    *,
    eager: bool = False,
) -> dict[tuple[str, int], int]:
    """Assign partitions, paused, until a seek says where to begin; returns where their logs start, none if given up.

    With an `eager` assignor they are all that this member has, otherwise they come on top.

    They are assigned at an offset that exists, never at a logical one such as the end. That one librdkafka would look
    up; pause and seek make the answer outdated, so it asks again half a second later and then moves to the end although
    a seek has come in between: what was written until then is skipped in silence.
    """
    while not give_up.is_set():
        try:
            starts = _starts(consumer, partitions)
        except KafkaException as error:  # no leader yet, or it is away
            log.info("where logs begin is not answered yet", error=str(error.args[0]))
            give_up.wait(AGAIN_S)
        else:
            (consumer.assign if eager else consumer.incremental_assign)(
                [TopicPartition(*place, offset) for place, offset in starts.items()]
            )
            consumer.pause(list(partitions))
            return starts
    return {}


def _starts(consumer: Consumer, partitions: Sequence[TopicPartition]) -> dict[tuple[str, int], int]:
    """Asked through the consumer: an older AdminClient is refused for ever after the broker has restarted."""
    return {(p.topic, p.partition): consumer.get_watermark_offsets(p, ANSWER_S, cached=False)[0] for p in partitions}


def offsets(admin: AdminClient, partitions: Sequence[TopicPartition], at: OffsetSpec) -> dict[tuple[str, int], int]:
    """Where the logs of these partitions begin or end.

    Raises:
        KafkaException: the broker did not answer in time.
    """
    wanted = {TopicPartition(p.topic, p.partition): at for p in partitions}
    futures = admin.list_offsets(wanted, request_timeout=5.0)
    return {(place.topic, place.partition): future.result().offset for place, future in futures.items()}


def seek(consumer: Consumer, partition: TopicPartition) -> None:
    """Seek, waiting up to a second for the fetcher to have taken a newly assigned partition."""
    for tries_left in range(200, 0, -1):
        try:
            consumer.seek(partition)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._STATE or tries_left == 1:  # noqa: SLF001 -- librdkafka's own name
                raise
            time.sleep(0.005)
        else:
            return

"""How many records of a topic wait for a stage: those that no member of its group has started yet."""

import asyncio

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streams.commit_metadata import ForeignMetadata, decode
from streams.kafka.connection import Connection
from streams.kafka.offsets import committed_by

TIMEOUT_S = 5.0


class WaitingRecords:
    """Asks the broker; the records in work, which the watermark alone would count too, are left out."""

    def __init__(self, connection: Connection, stage: str, topic: str) -> None:
        self._connection = connection
        self._consumer: Consumer | None = None
        self._group = connection.group(stage)
        self._topic = connection.topic(topic)
        self._partitions: list[TopicPartition] = []

    async def __call__(self) -> int:
        """The count.

        Raises:
            OSError: the broker did not answer.
        """
        try:
            return await asyncio.to_thread(self._count)
        except KafkaException as error:
            raise OSError(f"{self._group}: {error.args[0].str()}") from error

    def _count(self) -> int:
        consumer = self._consumer = self._consumer or self._new_consumer()
        if not self._partitions:
            found = consumer.list_topics(self._topic, timeout=TIMEOUT_S).topics[self._topic]
            self._partitions = [TopicPartition(self._topic, number) for number in found.partitions]
        # In this order: while the broker is away, the first fails, and ends are not asked for in vain.
        told = committed_by(consumer, self._partitions, TIMEOUT_S)
        ends = {(p.topic, p.partition): consumer.get_watermark_offsets(p, TIMEOUT_S)[1] for p in self._partitions}
        return sum(max(0, end - _started(*told.get(place, (-1, None)))) for place, end in ends.items())

    def _new_consumer(self) -> Consumer:
        """One that joins nothing: what an open transaction may add is not waited for."""
        return self._connection.consumer(self._group, **{"isolation.level": "read_uncommitted"})


def _started(offset: int, metadata: str | None) -> int:
    """The offset behind the highest that was started, and behind the marker of the transaction that wrote it."""
    if offset < 0:
        return 0
    try:
        return decode(offset, metadata).highest + 2
    except ForeignMetadata:
        return offset

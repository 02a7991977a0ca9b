"""The sink's dead letters: rows that the warehouse refuses, and records that hold no rows."""

import time
from datetime import datetime
from typing import Any, cast

import structlog
from confluent_kafka import KafkaError, KafkaException, Message

from schemas.dead_letter_events import DeadLetterEvent
from streams.errors import BrokerAway
from streams.kafka.connection import Connection
from streams.kafka.sink_notes import STAGE
from streams.records import Address, Raw
from streams.wire import unstorable_record

log = structlog.get_logger(__name__)

TIMEOUT_S = 30.0
UNFLUSHED_BYTES = 16 * 1024 * 1024
"""Dead letters are waited for when there are so many bytes of them: a flood of bad rows must not fill the memory."""


class Letters:
    """Writes dead letters; they are safe when `flush` has returned."""

    def __init__(self, connection: Connection, group: str) -> None:
        self._connection = connection
        self._group = group
        self._producer = connection.idempotent_producer()
        self._undelivered: list[str] = []
        self._unflushed = 0

    def send(self, address: Address, at: datetime, raw: Raw, reason: str) -> DeadLetterEvent:
        """Write the dead letter of what was refused of a record; returns its row, which is the same each time.

        Args:
            address: the record.
            at: its time.
            raw: its key and headers, and as value an array of the rows that were refused.
            reason: why.

        Raises:
            BrokerAway: the queue stayed full for 30 s, or the broker takes no such record.
        """
        log.error("rows refused", address=str(address), error=reason)
        record = unstorable_record(address, raw, self._group, reason)
        headers, topic = cast("Any", list(record.headers)), self._connection.topic(record.topic)
        give_up = time.monotonic() + TIMEOUT_S
        while True:
            try:
                self._producer.produce(topic, record.value, record.key, headers=headers, on_delivery=self._told)
            except BufferError as error:  # wait for room: this is what bounds the memory
                if time.monotonic() > give_up:
                    raise BrokerAway(f"dead letters were not acknowledged for {TIMEOUT_S:.0f} s") from error
                self._producer.poll(0.1)
            except KafkaException as error:
                raise BrokerAway(f"the dead letter of {address} can't be written: {error.args[0].str()}") from error
            else:
                break
        self._unflushed += len(raw.value or b"")
        if self._unflushed > UNFLUSHED_BYTES:
            self.flush()
        return _row(address, at, reason)

    def flush(self) -> None:
        """Wait until the broker has all of them.

        Raises:
            BrokerAway: it has not after 30 s.
        """
        if self._producer.flush(TIMEOUT_S) or self._undelivered:
            raise BrokerAway(f"dead letters were not acknowledged: {self._undelivered[:1] or 'no answer'}")
        self._unflushed = 0

    def _told(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._undelivered.append(error.str())


def _row(address: Address, at: datetime, reason: str) -> DeadLetterEvent:
    return DeadLetterEvent(
        time=at,
        event_id=f"{STAGE}/{address}",
        stage=STAGE,
        tenant="",
        job_id="",
        error_class="RowsRefused",
        message=reason[:2000],
        messaging_destination_name=address.topic,
        messaging_kafka_partition=address.partition,
        messaging_kafka_offset=address.offset,
    )

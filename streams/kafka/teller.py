"""Records outside transactions that may be lost: a producer of its own, which never makes its caller wait."""

import threading

import structlog
from confluent_kafka import KafkaException, Producer

from streams.kafka.connection import Connection
from streams.records import Record

log = structlog.get_logger(__name__)


class KafkaTeller:
    """Made with the first record that is told: most processes never need it. Safe to use from any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._producer: Producer | None = None

    def tell(self, record: Record) -> None:
        """Send a record, without waiting; dropped where too many wait already."""
        with self._lock:
            self._producer = self._producer or self._connection.hasty_producer()
        headers: list[tuple[str, str | bytes | None]] = list(record.headers)
        try:
            self._producer.produce(self._connection.topic(record.topic), record.value, record.key, headers=headers)
        except (BufferError, KafkaException) as error:
            log.info("not told", topic=record.topic, error=str(error))
        self._producer.poll(0)

    def close(self) -> None:
        """Send what is queued, within a second."""
        if self._producer is not None:
            self._producer.flush(1.0)

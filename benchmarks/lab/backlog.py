"""A backlog of `traces`: the records that real stages wrote for some jobs, and as many copies for other jobs as wanted.

A copy differs in nothing but the jobs' ids, which have the same length, so its arrays are what stages write: as many
rows in each, as many bytes. A text is found by its hash and does not name its job, so copies of a text are one row.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Message, Producer

from lab.children import LabError
from schemas.avro import decode_rows
from schemas.trace import TABLES, PayloadEvent
from streams.batch import TABLE

DIGITS: Final = 4
FLUSH_S: Final = 120.0
NAMES: Final = {table.TABLE: table.__name__ for table in TABLES}
KEYS: Final = {PayloadEvent.TABLE: "sha256"}


@dataclass(frozen=True)
class Original:
    """What stages wrote for jobs whose ids begin with `name` and four zeros."""

    name: str
    records: Sequence[Message]
    rows: Counter[str]
    """Rows by table."""
    keys: Counter[str]
    """Different rows by table."""
    size: int
    """Bytes of the arrays."""

    @classmethod
    def of(cls, name: str, records: Sequence[Message]) -> "Original":
        """Count what was written.

        Raises:
            LabError: nothing was, so there is nothing to copy.
        """
        if not records:
            raise LabError("the stages wrote no traces")
        rows: Counter[str] = Counter()
        keys: dict[str, set[str]] = {}
        for record in records:
            table = table_of(record)
            found = decode_rows(NAMES[table], record.value() or b"")
            rows[table] += len(found)
            keys.setdefault(table, set()).update(str(row[KEYS.get(table, "event_id")]) for row in found)
        size = sum(len(record.value() or b"") for record in records)
        return cls(name, records, rows, Counter({table: len(found) for table, found in keys.items()}), size)

    def expected(self, copies: int) -> dict[str, int]:
        """Rows that the warehouse must have of so many copies, repeats not counted."""
        return {table: n if table in KEYS else n * copies for table, n in self.keys.items()}

    def copy(self, number: int) -> Iterator[tuple[bytes, list[tuple[str, bytes]]]]:
        """Value and headers of each record, for other jobs."""
        told, other = (f"{self.name}{n:0{DIGITS}d}-".encode() for n in (0, number))
        for record in self.records:
            yield (record.value() or b"").replace(told, other), headers_of(record)


def publish(original: Original, copies: int, broker: str, topic: str) -> int:
    """Write so many copies, each record to a partition by turns; returns the records written.

    Raises:
        LabError: the broker did not acknowledge all.
    """
    producer = Producer(
        {
            "bootstrap.servers": broker,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 20,
            "compression.type": "lz4",
            "message.max.bytes": 16 * 2**20,
            "queue.buffering.max.kbytes": 131_072,
            "log_level": 0,
        }
    )
    failed: list[str] = []
    written = 0
    for number in range(copies):
        for value, headers in original.copy(number):
            _produce(producer, topic, value, headers, failed)
            written += 1
    if producer.flush(FLUSH_S) or failed:
        raise LabError(f"{topic}: {len(failed)} records were not acknowledged: {failed[:1]}")
    return written


def _produce(producer: Producer, topic: str, value: bytes, headers: list[tuple[str, bytes]], failed: list[str]) -> None:
    while True:
        try:
            producer.produce(
                topic,
                value,
                headers=headers,
                on_delivery=lambda error, _: failed.append(str(error)) if error is not None else None,
            )
        except BufferError:
            producer.poll(0.1)
        else:
            producer.poll(0)
            return


def headers_of(record: Message) -> list[tuple[str, bytes]]:
    """The headers that have a value."""
    return [(name, value) for name, value in record.headers() or () if isinstance(value, bytes)]


def table_of(record: Message) -> str:
    """The table of an array of rows."""
    return dict(headers_of(record))[TABLE].decode()

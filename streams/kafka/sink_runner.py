"""Traces into the warehouse: insert, note the progress, commit; in this order, so that nothing is lost.

One thread, synchronous. While the warehouse is away nothing more is consumed: the log is the buffer, not this process.
"""

import functools
import itertools
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

import structlog
from confluent_kafka import Consumer, KafkaError, Message

from schemas.avro import encode_rows, row_schema, rows_fingerprint
from schemas.base import from_millis
from schemas.control import Control
from schemas.dead_letter_events import DeadLetterEvent
from schemas.trace import TABLES, ControlEvent, Event
from sinks.batch import Batch, Item, Limits, Part
from sinks.errors import BrokenArray, WarehouseAway, WarehouseUnfit
from sinks.flush import Refused, insert_part
from sinks.port import Sink
from sinks.progress import Position
from streams.batch import SCHEMA, TABLE
from streams.header_names import header_text
from streams.kafka.closing import give_back_and_close
from streams.kafka.connection import Connection
from streams.kafka.renewal import BeyondHelp, is_fatal, with_renewals
from streams.kafka.sink_letters import Letters
from streams.kafka.sink_notes import STAGE
from streams.kafka.sink_places import Places
from streams.records import Address, Headers, Raw
from streams.topics import TRACES

log = structlog.get_logger(__name__)
T = TypeVar("T")

LIMITS = Limits(rows=50_000, size=48 * 1024 * 1024, age_s=1.0)
POLL_S = 0.2
RECORDS = 500
"""Records taken at once; the consumer's queue (4 MiB, and a fetch beyond it) bounds their bytes."""
HEAR_S = 3.0
SETTLE_S = 2.0
"""How long a commit that failed, or an end that holds no record, may wait for the next one."""
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between tries while the warehouse is away; the last one repeats."""
ROW_TABLES = frozenset(table.TABLE for table in TABLES)
FINGERPRINT = re.compile(r"[0-9a-f]{16}")


class Stopped(Exception):  # noqa: N818 -- a signal within this module, not an error
    """Told to stop while the warehouse is away."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A record of `traces`: where it lay, when, and its bytes."""

    address: Address
    timestamp_ms: int
    raw: Raw


@dataclass
class SinkRunner:
    """Runs until stopped; any number of them share the partitions of `traces`. `prepare` makes the tables."""

    connection: Connection
    sink: Sink
    instance_id: str
    prepare: Callable[[], object]
    limits: Limits = LIMITS
    clock: Callable[[], float] = time.monotonic
    away_because: str | None = None
    _own_rows: list[Event] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """Flush what is there and end `run`."""
        self._stop.set()

    def heard(self, version: int, control: Control) -> None:
        """Have a control record written into control_log too; may be called from any thread."""
        fields = control.model_dump(include={"name", "version", "who", "why"}) | {"git_commit": control.commit}
        row = ControlEvent(
            control_version=version,
            time=control.at,
            key=control.key,
            kind=control.kind.value,
            target=control.target.value,
            **fields,
        )
        self._own_rows.append(row)

    def run(self) -> None:
        """Consume and insert until stopped.

        Raises:
            StreamsError: the consumer failed for good, or dead letters were not acknowledged.
        """
        group = self.connection.group(STAGE)
        self._topic = self.connection.topic(TRACES.name)  # with the prefix: several may share a warehouse
        self._letters = Letters(self.connection, group)
        try:
            with_renewals(group, functools.partial(self._run_consumer, group))
        except Stopped as away:
            log.warning("stopped while the warehouse is away; the log keeps what was not stored", error=str(away))
        finally:
            self.sink.close()

    def _run_consumer(self, group: str) -> None:
        """What was taken and not stored when a consumer ends is read again by the next."""
        self._places = Places(self._topic, group, self.connection.admin, self._stop)
        self._batch: Batch[Taken] = Batch(self.limits)
        self._flushed_at = self.clock()
        told = {"enable.partition.eof": True, "on_commit": self._places.on_commit, "fetch.queue.backoff.ms": 20}
        consumer = self.connection.consumer(group, self.instance_id, **told)
        consumer.subscribe([self._topic], on_assign=self._places.on_assign, on_revoke=self._places.on_revoke)
        try:
            self._insist(consumer, self.prepare)
            while not self._stop.is_set():
                self._step(consumer)
            self._flush(consumer)
            self._hear(consumer)
        finally:
            give_back_and_close(consumer, group)

    def _hear(self, consumer: Consumer) -> None:
        """Wait for the answer to the last commit; what is delivered meanwhile is the next owner's."""
        until = time.monotonic() + HEAR_S
        while not self._places.settled and time.monotonic() < until:
            consumer.poll(0.05)

    def _step(self, consumer: Consumer) -> None:
        self._places.place(
            consumer,
            lambda: self._insist(consumer, self.sink.progress),
            lambda gap: self._insist(consumer, functools.partial(self.sink.record_gap, gap)),
        )
        if (first := consumer.poll(POLL_S)) is not None:
            # Not a longer wait for more: it would take as many bytes as the broker can send meanwhile.
            for message in (first, *consumer.consume(RECORDS - 1, 0)):
                self._see(consumer, message)
        now = self.clock()
        unsettled = now - self._flushed_at > SETTLE_S and not self._places.settled
        if self._batch.due(now) or self._own_rows or unsettled:
            self._flush(consumer)

    def _see(self, consumer: Consumer, message: Message) -> None:
        """Take a record; a position that is gone from the log is found anew; a fatal error ends the consumer."""
        error, partition = message.error(), message.partition()
        if error is None:
            self._take(consumer, message)
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 -- librdkafka's own name
            self._places.reached(partition or 0, message.offset() or 0)
        elif is_fatal(error):
            raise BeyondHelp(error)
        else:
            log.warning("consumer error", topic=self._topic, partition=partition, error=error.str())
            if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 -- as above
                self._places.lose(consumer, partition or 0)

    def _take(self, consumer: Consumer, message: Message) -> None:
        address = Address(self._topic, message.partition() or 0, message.offset() or 0)
        if not self._places.take(address.partition, address.offset):
            return
        raw = Raw(message.key(), message.value(), cast("Headers", tuple(message.headers() or ())))
        taken = Taken(address, message.timestamp()[1], raw)
        table, fingerprint = header_text(raw.headers, TABLE), header_text(raw.headers, SCHEMA)
        if row_schema(table, fingerprint) is None:
            self._unknown(consumer, taken, table, fingerprint)
            return
        try:
            self._batch.add(table, fingerprint, raw.value or b"", taken, self.clock())
        except BrokenArray as broken:
            self._give_up(Refused(taken, str(broken), raw.value or b""))

    def _unknown(self, consumer: Consumer, taken: Taken, table: str, fingerprint: str) -> None:
        """Rows of a newer Penstock wait for a newer sink, in the log; what is no row of ours is a dead letter."""
        if table not in ROW_TABLES or not FINGERPRINT.fullmatch(fingerprint):
            why = f"no schema {fingerprint!r} of a table {table!r} is known here"
            self._give_up(Refused(taken, why, taken.raw.value or b""))
            return
        why = (
            f"{taken.address} holds rows of {table} in the schema {fingerprint}, which this version does not know: a "
            "newer Penstock wrote them; upgrade this sink"
        )
        log.error("rows of a newer schema wait for a newer sink", address=str(taken.address), reason=why)
        self._places.hold(consumer, taken.address.partition, taken.address.offset, why)

    # --- flush: the order is the guarantee ---------------------------------------------------------------------------

    def _flush(self, consumer: Consumer) -> None:
        reach = self._places.snapshot()
        # 1. the rows of each table; what is refused even alone becomes a dead letter
        for part in self._batch.take():
            for refused in self._insist(consumer, functools.partial(self._insert, part)):
                self._give_up(refused)
        self._letters.flush()
        self._insist(consumer, self._insert_own_rows)
        # 2. how far they reach, in partitions that were not taken away meanwhile
        offsets = self._places.still(reach)
        positions = [Position(self._topic, partition, offset) for partition, offset in offsets.items()]
        self._insist(consumer, functools.partial(self.sink.set_progress, positions))
        # 3. the commit
        self._places.commit(consumer, self._places.still(reach))
        self._flushed_at = self.clock()

    def _insert(self, part: Part[Taken]) -> tuple[Refused[Taken], ...]:
        return insert_part(self.sink, part, _schema(part.table, part.fingerprint))

    def _give_up(self, refused: Refused[Taken]) -> None:
        taken = refused.tag
        raw = Raw(taken.raw.key, refused.array, taken.raw.headers)
        self._own_rows.append(self._letters.send(taken.address, from_millis(taken.timestamp_ms), raw, refused.reason))

    def _insert_own_rows(self) -> None:
        """What no stage traces: dead letters of the sink, and control, which every sink reads from its start.

        Equal rows collapse. One that is refused is in the log, and in Kafka where it came from.
        """
        rows = list(self._own_rows)
        for kind in (ControlEvent, DeadLetterEvent):
            of_kind: Sequence[Event] = [row for row in rows if isinstance(row, kind)]
            if not of_kind:
                continue
            name, table = kind.__name__, kind.TABLE
            items = tuple(Item(encode_rows(name, [row]), 1, row) for row in of_kind)
            part = Part(table, rows_fingerprint(name), items)
            for refused in insert_part(self.sink, part, _schema(table, part.fingerprint)):
                log.error("a row of the sink's own was refused", table=table, error=refused.reason)
        del self._own_rows[: len(rows)]

    # --- while the warehouse is away ---------------------------------------------------------------------------------

    def _insist(self, consumer: Consumer, call: Callable[[], T]) -> T:
        """Call until the warehouse answers; meanwhile nothing is consumed, but the group is kept alive.

        Raises:
            Stopped: told to stop while the warehouse is away; the log keeps what was not stored.
        """
        for wait_s in itertools.chain(RETRY_S, itertools.repeat(RETRY_S[-1])):
            try:
                answer = call()
            except WarehouseAway as away:
                self._wait_for_warehouse(consumer, away, wait_s)
            else:
                if self.away_because is not None:
                    log.info("warehouse is back")
                    self.away_because = None
                    self._places.resume(consumer)
                return answer
        raise AssertionError("unreachable: the waits never end")

    def _wait_for_warehouse(self, consumer: Consumer, away: WarehouseAway, wait_s: float) -> None:
        why = str(away)
        if self.away_because is None:
            log.warning("warehouse is away; nothing is consumed until it answers", error=why)
        if isinstance(away, WarehouseUnfit) and self.away_because != why:
            log.error("the warehouse takes nothing until a person repairs it", error=why)
        self.away_because = why
        self._places.pause(consumer, why)
        until = time.monotonic() + wait_s
        while (left := until - time.monotonic()) > 0:
            if self._stop.is_set():
                raise Stopped(why)
            if (message := consumer.poll(min(left, POLL_S))) is not None:
                self._see_while_away(consumer, message)

    def _see_while_away(self, consumer: Consumer, message: Message) -> None:
        """Partitions are paused, so this is an error; were it a record, it would be read again later."""
        error = message.error()
        if error is not None and (is_fatal(error) or error.code() == KafkaError._AUTO_OFFSET_RESET):  # noqa: SLF001 -- librdkafka's own name
            self._see(consumer, message)
        elif error is None:
            self._places.lose(consumer, message.partition() or 0)


def _schema(table: str, fingerprint: str) -> str:
    found = row_schema(table, fingerprint)
    assert found is not None, f"{table} was taken without a schema"
    return found

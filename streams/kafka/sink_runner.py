"""Traces into the warehouse: insert, note the progress, commit; in this order, so that nothing is lost.

One thread, synchronous. While the warehouse is away nothing more is consumed: the log is the buffer, not this process.
"""

import functools
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.avro import encode_rows, row_schema, rows_fingerprint
from schemas.control import Control
from schemas.trace import ControlEvent
from sinks.avro_body import container
from sinks.batch import Batch, Limits, Part
from sinks.errors import BrokenArray, WarehouseAway
from sinks.flush import Refused, insert_part
from sinks.port import Sink
from sinks.progress import Gap, Position, Source
from streams.batch import SCHEMA, TABLE
from streams.errors import BrokerAway
from streams.header_names import header_text
from streams.kafka.connection import Connection
from streams.kafka.offsets import assign_paused, committed, seek
from streams.records import Address, Headers, Raw
from streams.topics import TRACES
from streams.wire import unstorable_record

log = structlog.get_logger(__name__)
T = TypeVar("T")

STAGE = "sink"
LIMITS = Limits(rows=50_000, size=64 * 1024 * 1024, age_s=1.0)
POLL_S = 0.2
TIMEOUT_S = 30.0
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between tries while the warehouse is away; the last one repeats."""


class Stopped(Exception):  # noqa: N818 -- a signal within this module, not an error
    """Told to stop while the warehouse is away."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A record of `traces`: where it lay and its bytes."""

    address: Address
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
    _next: dict[Source, int] = field(default_factory=dict)
    _unplaced: list[TopicPartition] = field(default_factory=list)
    _control: list[ControlEvent] = field(default_factory=list)
    _undelivered: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """Flush what is there and end `run`."""
        self._stop.set()

    def heard(self, version: int, control: Control) -> None:
        """Have a control record written into control_log too; may be called from any thread."""
        fields = control.model_dump(include={"name", "version", "who", "why"})
        row = ControlEvent(
            control_version=version,
            time=control.at,
            key=control.key,
            kind=control.kind.value,
            target=control.target.value,
            **fields,
        )
        self._control.append(row)

    def run(self) -> None:
        """Consume and insert until stopped.

        Raises:
            BrokerAway: the consumer failed for good.
        """
        self._group = self.connection.group(STAGE)
        self._traces = self.connection.topic(TRACES.name)  # with the prefix: several may share a warehouse
        self._admin = self.connection.admin()
        self._letters = self.connection.idempotent_producer()
        self._batch: Batch[Taken] = Batch(self.limits)
        consumer = self.connection.consumer(self._group, self.instance_id)
        consumer.subscribe([self._traces], on_assign=self._on_assign, on_revoke=self._on_revoke)
        try:
            self._insist(consumer, self.prepare)
            while not self._stop.is_set():
                self._step(consumer)
            self._flush(consumer)
        except Stopped as away:
            log.warning("stopped while the warehouse is away; the log keeps what was not stored", error=str(away))
        except KafkaException as error:
            raise BrokerAway(f"the sink can't go on: {error.args[0].str()}") from error
        finally:
            consumer.close()
            self.sink.close()

    def _step(self, consumer: Consumer) -> None:
        self._place(consumer)
        for message in consumer.consume(500, POLL_S):
            if message.error() is None:
                self._take(message)
            else:
                self._recover(consumer, message)
        if self._batch.due(self.clock()) or self._control:
            self._flush(consumer)

    def _recover(self, consumer: Consumer, message: Message) -> None:
        """A position that is gone from the log is found anew, with a gap on record; a fatal error ends the sink."""
        error = message.error()
        assert error is not None
        if error.fatal():
            raise BrokerAway(f"the sink can't go on: {error.str()}")
        log.warning("consumer error", group=self._group, error=error.str())
        place = TopicPartition(self._traces, message.partition() or 0)
        if error.code() == KafkaError._AUTO_OFFSET_RESET and place not in self._unplaced:  # noqa: SLF001
            consumer.pause([place])
            self._unplaced.append(place)

    def _take(self, message: Message) -> None:
        source = Source(self._traces, message.partition() or 0)
        offset = message.offset() or 0
        if source not in self._next:  # revoked meanwhile
            return
        self._next[source] = offset + 1
        raw = Raw(message.key(), message.value(), cast("Headers", tuple(message.headers() or ())))
        taken = Taken(Address(*source, offset), raw)
        table, fingerprint = header_text(raw.headers, TABLE), header_text(raw.headers, SCHEMA)
        if row_schema(table, fingerprint) is None:
            self._dead_letter(Refused(taken, f"no schema {fingerprint!r} of a table {table!r} is known here"))
            return
        try:
            self._batch.add(table, fingerprint, taken.raw.value or b"", taken, self.clock())
        except BrokenArray as broken:
            self._dead_letter(Refused(taken, str(broken)))

    # --- flush: the order is the guarantee ---------------------------------------------------------------------------

    def _flush(self, consumer: Consumer) -> None:
        # 1. the rows of each table; an array that is refused even alone becomes a dead letter
        for part in self._batch.take():
            for refused in self._insist(consumer, functools.partial(self._insert, part)):
                self._dead_letter(refused)
        self._insist(consumer, self._insert_control)
        if self._letters.flush(TIMEOUT_S) or self._undelivered:
            raise BrokerAway(f"dead letters were not acknowledged: {self._undelivered[:1] or 'no answer'}")
        # 2. how far they reach
        positions = [Position(*source, next_offset) for source, next_offset in self._next.items()]
        self._insist(consumer, functools.partial(self.sink.set_progress, positions))
        # 3. the commit
        if positions:
            offsets = [TopicPartition(p.topic, p.partition, p.next_offset) for p in positions]
            try:
                consumer.commit(offsets=offsets, asynchronous=False)
            except KafkaException as error:  # the warehouse knows how far the rows reach: the next commit will do
                log.warning("commit failed", group=self._group, error=error.args[0].str())

    def _insert(self, part: Part[Taken]) -> tuple[Refused[Taken], ...]:
        schema = row_schema(part.table, part.fingerprint)
        assert schema is not None, f"{part.table} was taken without a schema"
        return insert_part(self.sink, part, schema)

    def _insert_control(self) -> None:
        """The control history is read by every sink from its start; equal rows collapse."""
        rows = list(self._control)
        if not rows:
            return
        name = ControlEvent.__name__
        schema = row_schema(ControlEvent.TABLE, rows_fingerprint(name))
        assert schema is not None
        self.sink.insert(ControlEvent.TABLE, container(schema, [encode_rows(name, rows)]), len(rows))
        del self._control[: len(rows)]

    def _insist(self, consumer: Consumer, call: Callable[[], T]) -> T:
        """Call until the warehouse answers; meanwhile nothing is consumed, but the group is kept alive.

        Raises:
            Stopped: told to stop while the warehouse is away; the log keeps what was not stored.
        """
        for wait_s in itertools.chain(RETRY_S, itertools.repeat(RETRY_S[-1])):
            try:
                answer = call()
            except WarehouseAway as away:
                self._wait_for_warehouse(consumer, str(away), wait_s)
            else:
                if self.away_because is not None:
                    log.info("warehouse is back")
                    self.away_because = None
                    consumer.resume(consumer.assignment())
                return answer
        raise AssertionError("unreachable: the waits never end")

    def _wait_for_warehouse(self, consumer: Consumer, why: str, wait_s: float) -> None:
        if self.away_because is None:
            log.warning("warehouse is away; nothing is consumed until it answers", error=why)
        self.away_because = why
        consumer.pause(consumer.assignment())
        until = time.monotonic() + wait_s
        while (left := until - time.monotonic()) > 0:
            if self._stop.is_set():
                raise Stopped(why)
            consumer.poll(min(left, POLL_S))

    def _dead_letter(self, refused: Refused[Taken]) -> None:
        address, raw = refused.tag.address, refused.tag.raw
        log.error("rows refused", address=str(address), error=refused.reason)
        record = unstorable_record(address, raw, self._group, refused.reason)
        self._letters.produce(
            self.connection.topic(record.topic),
            record.value,
            record.key,
            headers=cast("Any", list(record.headers)),
            on_delivery=self._told,
        )

    def _told(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._undelivered.append(error.str())

    # --- where to start ----------------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Partitions start paused until it is known how far their rows reach."""
        assign_paused(consumer, self._admin, partitions, self._stop)
        self._unplaced.extend(partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """What is not flushed of these is read again by the next owner."""
        gone = {partition.partition for partition in partitions}
        self._unplaced = [place for place in self._unplaced if place.partition not in gone]
        for partition in gone:
            self._next.pop(Source(self._traces, partition), None)
        consumer.incremental_unassign(partitions)

    def _place(self, consumer: Consumer) -> None:
        """Resume each new partition at the lower of what the warehouse noted and what the group committed."""
        if not self._unplaced:
            return
        noted = self._insist(consumer, self.sink.progress)
        try:
            told = self._committed()
            ends = {place.partition: consumer.get_watermark_offsets(place, 5) for place in self._unplaced}
        except KafkaException as error:  # asked again at the next step
            log.info("positions not answered yet", group=self._group, error=str(error.args[0]))
            return
        places, self._unplaced = self._unplaced, []
        for place in places:
            source, low = Source(self._traces, place.partition), ends[place.partition][0]
            reached = noted.get(source, 0)
            wanted = min(reached, told.get(place.partition, reached))
            if wanted < low and source in noted:
                self._insist(consumer, functools.partial(self.sink.record_gap, Gap(*source, wanted, low)))
                log.error(
                    "trace records were gone before they were stored", partition=place.partition, count=low - wanted
                )
            high = ends[place.partition][1]
            self._next[source] = low if wanted > high else max(wanted, low)  # above the end: the topic was made anew
            seek(consumer, TopicPartition(place.topic, place.partition, self._next[source]))
            consumer.resume([place])

    def _committed(self) -> dict[int, int]:
        found = committed(self._admin, self._group, self._unplaced)
        return {partition: offset for (_, partition), (offset, _) in found.items() if offset >= 0}

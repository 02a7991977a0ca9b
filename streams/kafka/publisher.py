"""The Publisher on Kafka transactions: one producer and one thread per process, for all stages in it."""

import asyncio
import functools
import itertools
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, cast

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from streams import fail_points, metrics
from streams.batch import Batch, Commit
from streams.commit_metadata import encode
from streams.errors import BrokerAway, RecordRefused, SlotTaken
from streams.kafka.connection import Connection
from streams.kafka.offsets import committed
from streams.kafka.patience import Hung, Patience
from streams.kafka.refusals import refusal
from streams.kafka.source import KafkaSource
from streams.records import Record
from streams.topics import BY_SLOT, PARTITIONS

log = structlog.get_logger(__name__)

TIMEOUT_S = 30.0
AGAIN_S = 0.05
"""Seconds before an aborted transaction is tried again."""
PARTITION_BY_KEY = -1


@dataclass(frozen=True, slots=True)
class Offsets:
    """What one group commits, and the metadata that fences it, as they were when the batch was taken."""

    source: KafkaSource
    metadata: Any
    partitions: list[TopicPartition]


class _End(Enum):
    COMMITTED = auto()
    ABORTED = auto()
    FENCED = auto()
    HUNG = auto()


class KafkaPublisher:
    """Commits batches in transactions. `fence` is held while one is open, so that no partition leaves meanwhile."""

    def __init__(self, connection: Connection, name: str, slot: int, fence: threading.Lock) -> None:
        self._connection = connection
        self._transactional_id = connection.group(f"{connection.instance}.{name}.{slot}")
        self._own_partition = slot % PARTITIONS
        self._limit_s = connection.transaction_timeout_ms / 1000  # the broker itself ends what is open for so long
        self._fence = fence
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="transactions")
        self._admin = connection.admin()
        self._failure: KafkaError | None = None
        self._producer: Producer | None = None
        self._given_up: list[Producer] = []  # to let go of one could wait for the answer that never comes
        self._opened_at = 0.0
        self._stamps = itertools.count(secrets.randbits(32))
        self._closed = threading.Event()

    # --- the port ---------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take the slot: fence whoever held it, end what it left open."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._open)

    async def commit(self, batch: Batch) -> None:
        """Return when the batch is committed, or when this process owns nothing of it any more.

        Raises:
            SlotTaken: fenced again within one transaction time-out.
            RecordRefused: the broker refuses a record, and always will.
        """
        await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, batch)

    async def close(self) -> None:
        """Let go of the slot. A commit that the broker does not answer is given up: its outcome stays unknown here."""
        self._closed.set()
        await asyncio.to_thread(self._thread.shutdown)

    # --- the thread --------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._producer = self._connection.transactional_producer(self._transactional_id)
        self._patience = Patience("offsets")
        self._take_slot(self._producer)
        self._opened_at = time.monotonic()

    def _take_slot(self, producer: Producer) -> None:
        while True:
            try:
                return producer.init_transactions(TIMEOUT_S)
            except KafkaException as failure:
                error = failure.args[0]
                if not error.retriable() or self._closed.is_set():
                    raise BrokerAway(f"{self._transactional_id} can't be opened: {error.str()}") from failure
                log.warning("slot asked for again", error=error.str(), id=self._transactional_id)

    def _commit(self, batch: Batch) -> None:
        while not self._closed.is_set():
            with self._fence:
                # Before asking what is owned: a loss afterwards is refused as an old generation.
                metadata = {commit.source: cast("KafkaSource", commit.source).metadata for commit in batch.commits}
                owned = batch.owned()
                if not owned.commits:
                    return
                stamp = next(self._stamps)
                offsets = [
                    Offsets(cast("KafkaSource", commit.source), metadata[commit.source], self._offsets(commit, stamp))
                    for commit in owned.commits
                ]
                records = owned.records()
                end = self._transact(records, offsets)
            if end is _End.COMMITTED:
                return
            if self._failure is not None and (refused := self._refusal(records)) is not None:
                raise refused
            metrics.TRANSACTION_FAILURES.labels(end.name.lower()).inc()
            if end is not _End.ABORTED:
                self._reopen(end)
                if self._was_committed(offsets):
                    return
            for one in offsets:
                one.source.refresh_metadata()
            self._closed.wait(AGAIN_S)

    def _transact(self, records: list[Record], offsets: list[Offsets]) -> _End:
        """One transaction. The order is the guarantee (EXACTLY_ONCE.md 1.2)."""
        producer = self._producer
        assert producer is not None, "commit before open"
        self._failure = None
        try:
            # 1. begin; 2. every record that the outcomes cause
            producer.begin_transaction()
            for record in records:
                self._produce(producer, record)
            # 3. flush: without it, adding offsets meets CONCURRENT_TRANSACTIONS and a backoff
            producer.flush(TIMEOUT_S)
            # 4. the offsets of each group, fenced by its metadata
            for one in offsets:
                send = functools.partial(producer.send_offsets_to_transaction, one.partitions, one.metadata, TIMEOUT_S)
                self._patience.call(send, self._limit_s)
            # 5. commit
            fail_points.reach(fail_points.BEFORE_COMMIT)
            self._commit_until_answered(producer)
        except KafkaException as failure:
            self._failure = failure.args[0]
            return self._abort(producer, failure)
        except SystemError as crossed:
            # A fatal error is raised where deliveries are reported; the report that follows it trips over it.
            if not isinstance(crossed.__cause__, KafkaException):
                raise
            return self._abort(producer, crossed.__cause__)
        except Hung as hung:
            log.warning("producer given up", error=str(hung), id=self._transactional_id)
            return _End.HUNG
        return _End.COMMITTED

    def _produce(self, producer: Producer, record: Record) -> None:
        topic = self._connection.topic(record.topic)
        headers: list[tuple[str, str | bytes | None]] = list(record.headers)
        partition = self._partition(record)
        while True:
            try:
                producer.produce(topic, record.value, record.key, partition, headers=headers)
            except BufferError:  # the local queue is full: let it send
                producer.poll(0.05)
            else:
                return

    def _partition(self, record: Record) -> int:
        if record.partition is not None:
            return record.partition
        return self._own_partition if record.topic in BY_SLOT else PARTITION_BY_KEY

    def _commit_until_answered(self, producer: Producer) -> None:
        """A commit that times out may have happened: it is asked again, never aborted.

        One that is unanswered for as long as the broker keeps a transaction open never will be: the request was lost in
        a broker's restart. Then the slot is taken anew, and the positions tell what became of it.

        Raises:
            Hung: it was not answered in time; the producer can't be used again.
        """
        give_up = time.monotonic() + self._limit_s
        while True:
            try:
                producer.commit_transaction(self._limit_s)
            except KafkaException as failure:
                if not failure.args[0].retriable() or self._closed.is_set():
                    raise
                if time.monotonic() >= give_up:
                    self._given_up.append(producer)
                    raise Hung(f"no answer to a commit within {self._limit_s:g} s") from failure
                log.warning("commit asked again", error=failure.args[0].str())
            else:
                return

    def _abort(self, producer: Producer, failure: KafkaException) -> _End:
        error = failure.args[0]
        log.warning("transaction failed", error=error.str(), fatal=error.fatal(), id=self._transactional_id)
        give_up = time.monotonic() + self._limit_s
        while not error.fatal():
            if self._closed.is_set():
                return _End.ABORTED
            try:
                producer.abort_transaction(self._limit_s)
            except KafkaException as again:
                error = again.args[0]
                if not error.retriable():
                    break
                if time.monotonic() >= give_up:
                    self._given_up.append(producer)
                    return _End.HUNG
            else:
                return _End.ABORTED
        return _End.FENCED

    def _refusal(self, records: list[Record]) -> RecordRefused | None:
        assert self._failure is not None
        return refusal(self._connection, self._admin, self._failure, records)

    def _reopen(self, end: _End) -> None:
        """After a fatal error the last commit's outcome is unknown: take the slot anew, then look."""
        held_s = time.monotonic() - self._opened_at
        if end is _End.FENCED and held_s * 1000 < self._connection.transaction_timeout_ms:
            raise SlotTaken(
                f"{self._transactional_id} was fenced {held_s:.1f} s after it was opened: another process runs in this "
                "slot. End it, or give this one a PENSTOCK_INSTANCE of its own"
            )
        self._open()

    def _was_committed(self, offsets: list[Offsets]) -> bool:
        """Whether the transaction took place: it is atomic, and each one has a stamp of its own."""
        for one in offsets:
            found = self._stable(one.source, one.partitions)
            for partition in one.partitions:
                if found.get((partition.topic, partition.partition)) == (partition.offset, partition.metadata):
                    return True
        return False

    def _stable(
        self, source: KafkaSource, partitions: list[TopicPartition]
    ) -> dict[tuple[str, int], tuple[int, str | None]]:
        while not self._closed.is_set():
            try:
                return committed(self._connection, source.group, partitions)  # see Beginnings.find
            except KafkaException as error:
                log.info("positions not answered yet", group=source.group, error=str(error.args[0]))
                self._closed.wait(0.2)
        return {}

    def _offsets(self, commit: Commit, stamp: int) -> list[TopicPartition]:
        return [
            TopicPartition(
                self._connection.topic(assignment.topic), assignment.partition, position.base, encode(position, stamp)
            )
            for assignment, position in commit.positions.items()
        ]

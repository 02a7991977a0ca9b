"""A Source on a consumer group. One thread makes every call of its consumer: calls from several wait for each other."""

import asyncio
import contextlib
import functools
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, cast

import structlog
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from streams.assignment import Assignment
from streams.errors import StreamsError
from streams.kafka.beginnings import Beginning, Beginnings, Key, position_lost
from streams.kafka.closing import give_back_and_close
from streams.kafka.connection import Connection
from streams.kafka.leaving import let_go
from streams.kafka.offsets import assign_paused, seek
from streams.kafka.renewal import BeyondHelp, is_fatal, with_renewals
from streams.records import Address, Delivery, Headers, Raw
from streams.source import Releases
from streams.state import Changelog

log = structlog.get_logger(__name__)

POLL_S = 0.05
IDLE_AFTER_S = 3.0
IDLE_POLL_S = 0.5
"""A poll returns with the first record; what else is asked of the thread waits so long when nothing has come lately."""
IDLE_BEFORE_PAUSE_S = 5.0
"""Seconds without free slots after which the partitions are paused, so that polling can serve rebalances again."""


class KafkaSource:
    """The deliveries of one group's topics. `fence` is held while a transaction is open: a revoke waits for it."""

    def __init__(
        self,
        connection: Connection,
        stage: str,
        topics: Sequence[str],
        instance_id: str,
        fence: threading.Lock,
        *,
        concurrency: int = 1,
        changelog: Changelog[Any] | None = None,
    ) -> None:
        self.group = connection.group(stage)
        self.releases: Releases | None = None
        self._concurrency = concurrency
        self._eager = changelog is not None  # as range assigns
        self._connection = connection
        self._topics = [connection.topic(name) for name in topics]
        self._instance_id = instance_id
        self._fence = fence
        self._assignments: dict[Key, Assignment] = {}
        self._located: set[Assignment] = set()
        self._paused = self._leaving = False
        self._commands: queue.SimpleQueue[Callable[[Consumer], None]] = queue.SimpleQueue()
        self._wanted = 0
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._closed = threading.Event()
        self._failure: StreamsError | None = None
        self._waiting: asyncio.Future[list[Delivery]] | None = None
        self._loop = asyncio.get_running_loop()
        self._beginnings = Beginnings(connection, self.group, self._topics, changelog)
        self.metadata: Any = None
        self._thread = threading.Thread(target=self._run, name=f"source-{stage}", daemon=True)
        self._thread.start()

    # --- the port ---------------------------------------------------------------------------------------------------

    async def take(self, limit: int) -> Sequence[Delivery]:
        """Wait for at least one delivery and return up to `limit`; nothing only when the source was stopped.

        Raises:
            StreamsError: the position is lost or not ours, or another process runs under this member's name.
        """
        if self._failure is not None:
            raise self._failure
        if self._stopped.is_set():
            return ()
        self._waiting = self._loop.create_future()
        self._wanted = limit
        self._wake.set()
        return await self._waiting

    def located(self) -> Sequence[Assignment]:
        """The assignments whose beginning is known."""
        return tuple(self._located)

    async def stop(self) -> None:
        """Take nothing more; a waiting `take` returns."""
        self._stopped.set()
        self._wake.set()
        self._hand_over([])

    async def close(self) -> None:
        """Leave; a static member keeps its assignment for whoever restarts in its slot."""
        self._stopped.set()
        self._closed.set()
        self._wake.set()
        await asyncio.to_thread(self._thread.join, 30)

    def refresh_metadata(self) -> None:
        """Fetch the group's metadata anew, through the consumer's own thread; the old stays if that does not answer."""
        done: Future[None] = Future()

        def fetch(consumer: Consumer) -> None:
            self.metadata = consumer.consumer_group_metadata()
            done.set_result(None)

        self._commands.put(fetch)
        self._wake.set()
        for _ in range(60):
            if self._failure is not None or self._closed.is_set() or self._leaving:
                return
            with contextlib.suppress(TimeoutError):
                done.result(0.5)
                return

    # --- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with_renewals(self.group, self._run_consumer)
        except StreamsError as failure:
            self._fail(failure)

    def _run_consumer(self) -> None:
        # Range gives partition n of every topic to one member, which is what a state shared by topics needs.
        ordered = {"partition.assignment.strategy": "range"} if self._eager else {}
        consumer = self._connection.consumer(self.group, self._instance_id, **ordered)
        consumer.subscribe(self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)
        self._paused = False
        try:
            self._poll_until_closed(consumer)
        finally:
            give_back_and_close(consumer, self.group)
            self._forget([self._partition(assignment) for assignment in self._assignments.values()])

    def _poll_until_closed(self, consumer: Consumer) -> None:
        full_since = idle_since = time.monotonic()
        while not self._closed.is_set():
            if not self._commands.empty():
                self._obey(consumer)
                idle_since = time.monotonic()
            if self._wanted <= 0:
                if not self._paused and time.monotonic() - full_since > IDLE_BEFORE_PAUSE_S:
                    consumer.pause(consumer.assignment())
                    self._paused = True
                if self._paused:
                    self._see(consumer.poll(POLL_S))  # only errors and callbacks can arrive now
                else:
                    self._wake.wait(POLL_S)
                    self._wake.clear()
                continue
            if self._paused:
                self._resume_all(consumer)
            first = consumer.poll(POLL_S if time.monotonic() - idle_since < IDLE_AFTER_S else IDLE_POLL_S)
            if first is not None:
                rest = consumer.consume(self._wanted - 1, 0) if self._wanted > 1 else []
                self._deliver([first, *rest])
                full_since = idle_since = time.monotonic()

    def _resume_all(self, consumer: Consumer) -> None:
        """Only those whose position is known: the others would be read from the start of their log."""
        consumer.resume([self._partition(assignment) for assignment in self._located if assignment.live])
        self._paused = False

    def _obey(self, consumer: Consumer) -> None:
        while not self._commands.empty():
            self._commands.get()(consumer)

    def _deliver(self, messages: list[Message]) -> None:
        deliveries = []
        for message in messages:
            if self._see(message):
                continue
            assignment = self._assignments.get((message.topic() or "", message.partition() or 0))
            if assignment is not None and assignment.live:
                deliveries.append(self._delivery(message, assignment))
        if deliveries:
            self._wanted = 0
            self._loop.call_soon_threadsafe(self._hand_over, deliveries)

    def _hand_over(self, deliveries: list[Delivery]) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(deliveries)

    def _delivery(self, message: Message, assignment: Assignment) -> Delivery:
        headers = cast("Headers", tuple(message.headers() or ()))
        return Delivery(
            Address(assignment.topic, assignment.partition, message.offset() or 0),
            message.timestamp()[1],
            Raw(message.key(), message.value(), headers),
            assignment,
        )

    def _see(self, message: Message | None) -> bool:
        """Whether it is an error that can be borne."""
        error = message.error() if message is not None else None
        if message is None or error is None:
            return False
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 -- librdkafka's local codes are named so
            raise position_lost(f"{self.group}: the committed offset of {message.topic()}/{message.partition()}", error)
        if is_fatal(error):
            raise BeyondHelp(error)
        log.warning("consumer error", group=self.group, error=error.str())
        return True

    def _fail(self, failure: StreamsError) -> None:
        self._failure = failure

        def tell() -> None:
            if self._waiting is not None and not self._waiting.done():
                self._waiting.set_exception(failure)

        self._loop.call_soon_threadsafe(tell)

    # --- assignments -------------------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Partitions start paused; where to read from is asked off this thread, until it is known."""
        self.metadata = consumer.consumer_group_metadata()
        if not partitions:
            return
        new = [Assignment(self._connection.name_of(p.topic), p.partition) for p in partitions]
        starts = assign_paused(consumer, partitions, self._closed, eager=self._eager)
        for partition, assignment in zip(partitions, new, strict=True):
            self._assignments[partition.topic, partition.partition] = assignment
        threading.Thread(target=self._locate, args=(new, starts), name=f"{self.group}-positions", daemon=True).start()

    def _locate(self, assignments: list[Assignment], starts: dict[Key, int]) -> None:
        partitions = [self._partition(assignment) for assignment in assignments]
        try:
            found = self._beginnings.find(partitions, starts, self._closed)
        except StreamsError as failure:
            self._fail(failure)
        else:
            self._commands.put(functools.partial(self._begin, assignments=assignments, found=found))
            self._wake.set()

    def _begin(self, consumer: Consumer, assignments: list[Assignment], found: dict[Key, Beginning]) -> None:
        for assignment in assignments:
            partition = self._partition(assignment)
            beginning = found.get((partition.topic, partition.partition))
            if beginning is None or not assignment.live:
                continue
            beginning.apply(assignment, self._concurrency)
            partition.offset = beginning.offset
            seek(consumer, partition)
            self._located.add(assignment)
            if not self._paused:  # else it is resumed with the others: what is polled until then is thrown away
                consumer.resume([partition])

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Return only after the open transaction has ended: until then the partitions are still ours to commit."""
        # The new assignment has come with a new generation, and what is committed from here on must carry it.
        self.metadata, self._leaving = consumer.consumer_group_metadata(), True
        self._release(partitions)
        self._leaving = False
        with self._fence:
            self._forget(partitions)
        self._unassign(consumer, partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """After lost, nothing is committed."""
        log.warning("partitions lost", group=self.group, partitions=[f"{p.topic}/{p.partition}" for p in partitions])
        self._forget(partitions)
        self._unassign(consumer, partitions)

    def _unassign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._eager:
            consumer.unassign()
        else:
            consumer.incremental_unassign(partitions)

    def _release(self, partitions: list[TopicPartition]) -> None:
        """Let what is in work end, and whoever takes these over know that nothing has gone wrong."""
        known = [self._assignments.get((partition.topic, partition.partition)) for partition in partitions]
        leaving = [assignment for assignment in known if assignment is not None and assignment in self._located]
        if self.releases is not None and leaving and not self._closed.is_set():
            let_go(leaving, self.releases, self._loop, self._closed)

    def _forget(self, partitions: list[TopicPartition]) -> None:
        for partition in partitions:
            assignment = self._assignments.pop((partition.topic, partition.partition), None)
            if assignment is not None:
                assignment.live = False
                self._located.discard(assignment)

    def _partition(self, assignment: Assignment) -> TopicPartition:
        return TopicPartition(self._connection.topic(assignment.topic), assignment.partition)

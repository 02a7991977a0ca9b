"""A sink of the test's own on the shared stack: real Kafka, real warehouse, its own topics and database."""

import itertools
import secrets
import threading
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import OffsetSpec

from schemas.trace import StageEvent
from sinks import migrations, progress
from sinks.clickhouse import ClickHouse
from streams.batch import trace_records
from streams.kafka.admin import ensure_topics
from streams.kafka.clients import Reader
from streams.kafka.connection import Connection
from streams.kafka.sink_notes import pauses
from streams.kafka.sink_runner import SinkRunner
from streams.topics import DEAD_LETTERS, TRACES

NOW = datetime.now(UTC).replace(microsecond=123_456) - timedelta(days=1)


def stage_rows(count, name="job", **changes):
    """Rows of stage_events, each of a job of its own."""
    return [
        StageEvent(
            time=NOW,
            tenant="acme",
            workflow="w",
            workflow_version="0" * 16,
            job_id=f"{name}-{number}",
            trace_id="0" * 32,
            stage="intake",
            rung=0,
            round=0,
            arm="baseline",
            control_version=0,
            segments={"language": "en"},
            event_id=f"acme/{name}-{number}/intake/0/0/0/stage",
            outcome="pass",
            reason="",
            queue_ms=1.0,
            duration_ms=1.0,
            worker="w",
            messaging_destination_name="jobs",
            messaging_kafka_partition=0,
            messaging_kafka_offset=number,
            **changes,
        )
        for number in range(count)
    ]


class Line:
    """Topics and a database; sinks are started and stopped on them."""

    def __init__(self, stack):
        name = f"sink{secrets.token_hex(4)}"
        self.stack = stack
        self.connection = Connection(stack.broker, prefix=f"{name}.")
        self.topic = self.connection.topic(TRACES.name)
        self.admin = self.connection.admin()
        ensure_topics(self.connection, [TRACES, DEAD_LETTERS])
        self.database = name
        self.warehouse = self.client()
        migrations.apply(self.warehouse)
        self._running = []
        self._partitions = itertools.cycle(range(TRACES.settings.partitions))

    def client(self):
        return ClickHouse(self.stack.warehouse_url, database=self.database, timeout_s=5)

    def start(self, sink=None, **more):
        """Start a sink in a thread."""
        store = sink or self.client()
        runner = SinkRunner(self.connection, store, "member", prepare=lambda: None, **more)
        thread = threading.Thread(target=runner.run, daemon=True)
        thread.start()
        self._running.append((runner, thread))
        return runner

    def stop(self):
        for runner, thread in self._running:
            runner.stop()
            thread.join(30)
            assert not thread.is_alive()
        self._running.clear()

    def write(self, *events, partition=None):
        """Write rows as stages do."""
        self.append(*((record.value, record.headers) for record in trace_records(events)), partition=partition)

    def append(self, *records, partition=None):
        """Write records as they are, outside of transactions."""
        producer = self.connection.idempotent_producer(0)
        for value, headers in records:
            at = next(self._partitions) if partition is None else partition
            producer.produce(self.topic, value, headers=list(headers), partition=at)
        assert producer.flush(10) == 0

    def write_in_transaction(self, *events, partition):
        """Write rows so that a mark follows them."""
        producer = self.connection.transactional_producer(f"{self.database}.writer")
        producer.init_transactions(10)
        producer.begin_transaction()
        for record in trace_records(events):
            producer.produce(self.topic, record.value, headers=list(record.headers), partition=partition)
        producer.flush(10)
        producer.commit_transaction(10)

    def stored(self, table="stage_events"):
        return self.warehouse.query(f"SELECT count() FROM {table} FINAL").rows[0][0]

    def gaps(self):
        return progress.gaps(self.warehouse)

    def noted(self):
        return {partition: offset for (_, partition), offset in progress.read(self.warehouse).items()}

    def committed(self):
        request = ConsumerGroupTopicPartitions(self.connection.group("sink"))
        answer = self.admin.list_consumer_group_offsets([request])[self.connection.group("sink")].result()
        return {place.partition: place.offset for place in answer.topic_partitions}

    def ends(self):
        places = {TopicPartition(self.topic, number): OffsetSpec.latest() for number in range(6)}
        return {p.partition: future.result().offset for p, future in self.admin.list_offsets(places).items()}

    def trim(self, partition, before):
        """Drop the records before an offset, as retention does."""
        place = TopicPartition(self.topic, partition, before)
        for future in self.admin.delete_records([place]).values():
            future.result()

    def recreate(self, eventually):
        """Delete the topic and make one of the same name."""
        self.admin.delete_topics([self.topic])[self.topic].result()
        eventually(lambda: self.topic not in self.admin.list_topics(timeout=10).topics)
        eventually(lambda: ensure_topics(self.connection, [TRACES]))

    def pauses(self):
        return pauses(self.connection)

    def dead_letters(self, count):
        reader = Reader(self.connection, [DEAD_LETTERS.name], from_start=True)
        try:
            found = []
            for _ in range(60):
                found += reader.read(100, 0.5)
                if len(found) >= count:
                    break
            return found
        finally:
            reader.close()

    def close(self):
        self.stop()
        self.warehouse.command(f"DROP DATABASE {self.database}")
        self.warehouse.close()


@pytest.fixture
def line(stack):
    """Give topics and a database of this test's own, and what is needed to run sinks on them."""
    made = Line(stack)
    yield made
    made.close()


@pytest.fixture
def rows():
    """Give the maker of rows."""
    return stage_rows

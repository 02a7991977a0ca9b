"""Where a consumer begins after a restart, when the broker is slow to answer."""

import threading

import pytest
from confluent_kafka import Producer, TopicPartition

from streams.kafka.admin import ensure_topics
from streams.kafka.connection import Connection
from streams.kafka.offsets import assign_paused, seek
from streams.topics import Settings, Topic

pytestmark = pytest.mark.stack

RECORDS = 3_000
BEGIN = 10
SLOWLY = {"queued.max.messages.kbytes": 64, "fetch.message.max.bytes": 32_768, "fetch.wait.max.ms": 5}


class Freezing:
    """A consumer whose broker stops answering at the moment of the assignment."""

    def __init__(self, consumer, stack):
        self._consumer = consumer
        self._stack = stack

    def incremental_assign(self, places):
        self._stack.pause("broker")
        self._consumer.incremental_assign(places)

    def __getattr__(self, name):
        return getattr(self._consumer, name)


@pytest.fixture
def connection(stack):
    """Give a connection to a topic full of records."""
    link = Connection(stack.broker, prefix="takeover.")
    ensure_topics(link, [Topic("full", Settings(partitions=1))])
    producer = Producer({"bootstrap.servers": stack.broker, "log_level": 0})
    for _ in range(RECORDS):
        producer.produce("takeover.full", b"x" * 1000)
        producer.poll(0)
    producer.flush(30)
    return link


def test_a_slow_broker_does_not_make_the_first_reads_skip_records(stack, connection):
    """From where it was sought to, a consumer reads every record, although the broker answered nothing meanwhile."""
    place = TopicPartition("takeover.full", 0)
    consumer = connection.consumer("takeover", **SLOWLY)
    try:
        consumer.assign([TopicPartition("takeover.full", 0, 0)])  # the leader's connection is up before it freezes
        assert consumer.poll(10) is not None
        consumer.unassign()
        assign_paused(Freezing(consumer, stack), [place], threading.Event())
        seek(consumer, TopicPartition("takeover.full", 0, BEGIN))
        consumer.resume([place])
        stack.resume("broker")
        assert offsets(consumer) == list(range(BEGIN, RECORDS))
    finally:
        stack.resume("broker")
        consumer.close()


def offsets(consumer):
    """Read until nothing more comes, and slowly: a late jump shows only while there is something to skip."""
    found = []
    while (message := consumer.poll(3)) is not None:
        assert message.error() is None
        found.append(message.offset())
        threading.Event().wait(0.0005)
    return found

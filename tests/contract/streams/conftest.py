"""The two brokers behind one face: everything the contract suite asks of the ports, it asks of both."""

import asyncio
import os
import threading
import uuid
from collections.abc import AsyncIterator, Sequence

import pytest

from streams.kafka.admin import ensure_topics
from streams.kafka.clients import JobPublisher, Reader
from streams.kafka.connection import Connection
from streams.kafka.publisher import KafkaPublisher
from streams.kafka.source import KafkaSource
from streams.memory import MemoryBroker, MemoryPublisher, MemorySource
from streams.publisher import Publisher
from streams.records import Raw, Record
from streams.source import Source
from streams.topics import Topic

TOPICS = (Topic("in"), Topic("out"))


class MemoryHarness:
    """The memory broker."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()

    async def put(self, *records: Record) -> None:
        """Append records as a producer does."""
        for record in records:
            self.broker.append(record)

    async def source(self, name: str = "stage") -> Source:
        """A member of the stage's group that takes the place of the one before it."""
        return MemorySource(self.broker, name, ["in"])

    async def publisher(self, name: str = "stage") -> Publisher:
        """A publisher in the slot, opened."""
        publisher = MemoryPublisher(self.broker, name)
        await publisher.open()
        return publisher

    async def committed(self, topic: str, count: int) -> Sequence[Raw]:  # noqa: ARG002 -- here nothing is waited for
        """What a reader of committed records finds."""
        return self.broker.records(topic)[:]

    async def close(self) -> None:
        """Nothing outlives the test."""


class KafkaHarness:
    """The embedded Kafka, under a prefix of this test's own."""

    def __init__(self, bootstrap: str) -> None:
        prefix = f"t{uuid.uuid4().hex[:8]}."
        self.connection = Connection(bootstrap, prefix=prefix, transaction_timeout_ms=2000)
        ensure_topics(self.connection, TOPICS)
        self.fence = threading.Lock()
        self.opened: list[Source | Publisher] = []

    async def put(self, *records: Record) -> None:
        """Append records as a producer does."""
        publisher = JobPublisher(self.connection, linger_ms=0)
        for record in records:
            publisher.publish(record.topic, record.value or b"", record.key, record.headers, lambda *_: None)
        await asyncio.to_thread(publisher.close)

    async def source(self, name: str = "stage", member: int = 0) -> KafkaSource:
        """A member of the stage's group that takes the place of the one before it in its slot."""
        source = KafkaSource(self.connection, name, ["in"], f"{name}.{member}", self.fence)
        self.opened.append(source)
        return source

    async def publisher(self, name: str = "stage") -> Publisher:
        """A publisher in the slot, opened."""
        publisher = KafkaPublisher(self.connection, name, 0, self.fence)
        self.opened.append(publisher)
        await publisher.open()
        return publisher

    async def committed(self, topic: str, count: int) -> Sequence[Raw]:
        """What a reader of committed records finds, once it finds so many (or after 10 s)."""

        def read() -> list[Raw]:
            reader = Reader(self.connection, [topic], from_start=True)
            found: list[Raw] = []
            for _ in range(100):
                found.extend(one.raw for one in reader.read(1000, 0.1))
                if len(found) >= count:
                    break
            found.extend(one.raw for one in reader.read(1000, 0.3))
            reader.close()
            return found

        return await asyncio.to_thread(read)

    async def close(self) -> None:
        """End every thread that the test started."""
        for one in self.opened:
            await one.close()


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.stack)])
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[MemoryHarness | KafkaHarness]:
    """Each test of the suite runs on the memory broker and on the embedded Kafka."""
    if request.param == "memory":
        harness: MemoryHarness | KafkaHarness = MemoryHarness()
    else:
        harness = KafkaHarness(os.environ.get("TEST_BROKER") or request.getfixturevalue("stack").broker)
    yield harness
    await harness.close()


@pytest.fixture
async def kafka(stack):
    """What only Kafka does, on a prefix of its own."""
    harness = KafkaHarness(stack.broker)
    yield harness
    await harness.close()

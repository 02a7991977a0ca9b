"""A publisher and a sink that count what passes through them, around the real ones, for processes that are scraped."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sinks.avro_body import Body
from sinks.port import Sink
from sinks.progress import Gap, Position, Source
from streams import metrics
from streams.batch import Batch
from streams.publisher import Publisher


@dataclass(frozen=True)
class MeteredPublisher:
    """Counts what is committed."""

    publisher: Publisher

    async def open(self) -> None:
        """As the publisher does."""
        await self.publisher.open()

    async def commit(self, batch: Batch) -> None:
        """As the publisher does; counted when it has returned."""
        started = time.perf_counter()
        await self.publisher.commit(batch)
        metrics.committed(batch, time.perf_counter() - started)

    async def close(self) -> None:
        """As the publisher does."""
        await self.publisher.close()


@dataclass(frozen=True)
class MeteredSink:
    """Counts what is stored."""

    sink: Sink

    def insert(self, table: str, body: Body, rows: int) -> None:  # noqa: D102 -- the port says it
        started = time.perf_counter()
        self.sink.insert(table, body, rows)
        metrics.stored(table, rows, time.perf_counter() - started)

    def progress(self) -> Mapping[Source, int]:  # noqa: D102 -- as above
        return self.sink.progress()

    def set_progress(self, positions: Sequence[Position]) -> None:  # noqa: D102 -- as above
        self.sink.set_progress(positions)

    def record_gap(self, gap: Gap) -> None:  # noqa: D102 -- as above
        self.sink.record_gap(gap)

    def ping(self) -> None:  # noqa: D102 -- as above
        self.sink.ping()

    def close(self) -> None:  # noqa: D102 -- as above
        self.sink.close()

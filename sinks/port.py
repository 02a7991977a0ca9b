"""The sink port: where batches of rows go. ClickHouse and the in-memory sink pass the same contract suite."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from sinks.avro_body import Body
from sinks.progress import Gap, Position, Source


class Sink(Protocol):
    """Storage for batches of rows. Synchronous; one thread at a time.

    Every call may raise `WarehouseAway`: wait and make the same call again, nothing is lost by repeating it. Its
    subclass `WarehouseUnfit` means the same, and that a person must be told.
    """

    def insert(self, table: str, body: Body, rows: int) -> None:
        """Store the rows of an Avro container body; they are stored when it returns.

        Rows that are stored already (equal event_id and time) do not double. When it raises, some rows of the body
        may have been stored all the same.

        Args:
            table: one of the tables of schemas.trace.
            body: `sinks.avro_body.container(...)`.
            rows: how many rows the body holds; fewer stored rows are an error.

        Raises:
            RowsRefused: the body was understood and refused; insert its halves to find the row at fault
                (`sinks.flush.insert_part` does).
            WarehouseAway: not now.
        """

    def progress(self) -> Mapping[Source, int]:
        """What was recorded last for each partition; a partition never recorded is absent."""

    def set_progress(self, positions: Sequence[Position]) -> None:
        """Record how far the stored rows reach; call it after the inserts, before the commit to Kafka."""

    def record_gap(self, gap: Gap) -> None:
        """Record that part of the log was gone before it could be stored."""

    def ping(self) -> None:
        """Return when the warehouse can be asked.

        Raises:
            WarehouseAway: it can't.
        """

    def close(self) -> None:
        """Let go of connections; later calls raise WarehouseAway."""

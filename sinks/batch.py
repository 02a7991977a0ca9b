"""A batch: arrays of rows wait here until enough of them or the oldest of them calls for a flush. Pure; time is given.

`tag` is whatever the caller wants back with an array that was refused; the batch only carries it.
"""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sinks.avro_body import count_rows

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """When a batch is due: at so many rows or bytes (`size`), or when its oldest array is so old."""

    rows: int
    size: int
    age_s: float


@dataclass(frozen=True, slots=True)
class Item(Generic[T]):
    """One array of rows, how many rows it holds, and its tag."""

    array: bytes
    rows: int
    tag: T


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """The arrays of one table under one schema, in the order in which they came."""

    table: str
    fingerprint: str
    items: tuple[Item[T], ...]

    @property
    def rows(self) -> int:
        """Rows over all arrays."""
        return sum(item.rows for item in self.items)


@dataclass(slots=True)
class Batch(Generic[T]):
    """Collects arrays until it is due. Not safe for several threads."""

    limits: Limits
    rows: int = field(default=0, init=False)
    size: int = field(default=0, init=False)
    _oldest: float | None = field(default=None, init=False)
    _items: dict[tuple[str, str], list[Item[T]]] = field(default_factory=dict, init=False)

    def add(self, table: str, fingerprint: str, array: bytes, tag: T, now: float) -> None:
        """Take an array of rows of this table, written under the schema of this fingerprint.

        Args:
            table: where the rows belong.
            fingerprint: names the schema; rows of different schemas can't share a body.
            array: an Avro array body.
            tag: comes back with the array.
            now: seconds on any steady clock, the same one for all calls.

        Raises:
            BrokenArray: the bytes are no array; the batch is as it was.
        """
        item = Item(array, count_rows(array), tag)
        self._items.setdefault((table, fingerprint), []).append(item)
        self.rows += item.rows
        self.size += len(array)
        if self._oldest is None:
            self._oldest = now

    def due(self, now: float) -> bool:
        """Whether the batch should be taken now; an empty one never is."""
        return self.wait_s(now) == 0

    def wait_s(self, now: float) -> float | None:
        """Seconds until the batch is due by its age; 0 when it is due, None while it is empty."""
        if self._oldest is None:
            return None
        if self.rows >= self.limits.rows or self.size >= self.limits.size:
            return 0.0
        return max(0.0, self._oldest + self.limits.age_s - now)

    def take(self) -> tuple[Part[T], ...]:
        """All that was collected, by table and schema; the batch is empty afterwards."""
        parts = tuple(Part(table, mark, tuple(items)) for (table, mark), items in self._items.items())
        self._items = {}
        self.rows = self.size = 0
        self._oldest = None
        return parts

"""Records on their way in and out: raw bytes, the delivery of one, and what a finished one causes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.quick import quick
from schemas.trace import Event
from streams.assignment import Assignment

if TYPE_CHECKING:
    from streams.source import Source

Headers = tuple[tuple[str, bytes | None], ...]


@quick
@dataclass(frozen=True, slots=True)
class Raw:
    """A record's bytes, untouched."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Address:
    """Where a record lies."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


@quick
@dataclass(frozen=True, slots=True)
class Delivery:
    """A record taken from a topic: its address, the broker's time in milliseconds, its bytes, and the assignment under
    which it was taken."""  # noqa: D205, D209 -- one sentence

    address: Address
    timestamp_ms: int
    raw: Raw
    assignment: Assignment


@quick
@dataclass(frozen=True, slots=True)
class Record:
    """A record to publish, by its key unless a partition is named; topics shared by all stages by the slot.

    Of the records of one transaction that name a partition (changes of a state) the last of a key stands for all.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class Entered:
    """A partition of an ordered stage that a record of another stage went on in at once: its state has changed.

    If the partition is gone before the commit, what has changed is gone with it: then `otherwise` gives what the record
    causes without that stage.
    """

    source: "Source"
    assignment: Assignment
    otherwise: "Callable[[], Emission]"


@quick
@dataclass(frozen=True, slots=True)
class Emission:
    """What one finished record causes: records and trace events, published in one transaction with its offset."""

    records: tuple[Record, ...] = ()
    events: tuple[Event, ...] = ()
    urgent: bool = True
    """False if nobody waits for it: then it is committed with what comes next, or after a moment."""
    told: tuple[Record, ...] = ()
    """What those are told who can't wait for a result, once all this is committed; it may be lost."""
    entered: Entered | None = None

    def after(self, events: tuple[Event, ...], entered: Entered | None = None) -> "Emission":
        """The same, with what went before, and where it went on: `replace` takes four times as long."""
        return Emission(self.records, (*events, *self.events), self.urgent, self.told, entered or self.entered)

    def changing(self, changes: tuple[Record, ...]) -> "Emission":
        """The same, with the changes of a state behind its records."""
        return Emission((*self.records, *changes), self.events, self.urgent, self.told, self.entered)


@quick
@dataclass(frozen=True, slots=True)
class Finished:
    """A delivery and what it caused."""

    delivery: Delivery
    emission: Emission

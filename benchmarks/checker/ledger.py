"""What was done to a system under test: which records were published, and what was broken when."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

IN_FLIGHT: Final = 256
"""Records that an inference process has in work at most, by default."""


@dataclass(frozen=True)
class Fault:
    """Something broken on purpose, from when to when, in seconds since 1970."""

    what: str
    began: float
    ended: float
    repeats_calls: bool = True
    """Whether calls in flight meanwhile may be made again: inference or the broker was hit."""


def kill(at: float, what: str = "inference") -> Fault:
    """A process that makes calls, dead at this moment."""
    return Fault(what, at, at)


@dataclass(frozen=True)
class Ledger:
    """Everything that the system has to account for."""

    published: Sequence[str]
    """Ids of jobs, each once, however often it was published."""
    one_key: Sequence[frozenset[str]] = ()
    """Jobs that were published with the same idempotency key: one of each set is done, the others are duplicates."""
    unreadable: Sequence[str] = ()
    """Addresses (topic/partition/offset) of records that nobody can read."""
    faults: Sequence[Fault] = ()
    deaths: Sequence[str] = ()
    """Processes that ended although nobody had killed them."""
    in_flight: int = IN_FLIGHT

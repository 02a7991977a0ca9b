"""The ports of the room: where deliveries come from and how outcomes are committed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from streams.records import Delivery

if TYPE_CHECKING:
    from streams.batch import Batch


class StreamsError(Exception):
    """The root of this room's errors.

    StreamsError
      SlotTaken         another process writes under the same transactional id
      PositionLost      the committed offset lies outside the log: someone must choose where to go on
      TopicMismatch     a topic is missing or has settings that break a promise
      BrokerAway        the broker does not answer
      TooManyBugs       processors raise again and again: stopped before the commit
      RecordTooLarge    a record that the broker would refuse: its job fails instead of holding up every commit
    """


class SlotTaken(StreamsError):  # noqa: N818 -- names what is the case
    """Fenced again within one transaction time-out: the slot has another owner."""


class PositionLost(StreamsError):  # noqa: N818 -- names what is the case
    """A committed offset is out of the log's range."""


class TopicMismatch(StreamsError):  # noqa: N818 -- names what is the case
    """A topic is not as the map needs it."""


class BrokerAway(StreamsError):  # noqa: N818 -- names what is the case
    """The broker does not answer."""


class TooManyBugs(StreamsError):  # noqa: N818 -- names what is the case
    """More records of one stage failed by a bug than its limit allows."""


class RecordTooLarge(StreamsError):  # noqa: N818 -- names what is the case
    """A stage made a record that is larger than its topic takes."""


class Source(Protocol):
    """The records of one consumer group's topics, delivered once per assignment, in order within a partition."""

    @property
    def group(self) -> str:
        """The consumer group."""
        ...

    async def take(self, limit: int) -> Sequence[Delivery]:
        """Wait for at least one delivery and return up to `limit`; nothing only when the source was stopped."""
        ...

    async def stop(self) -> None:
        """Take nothing more; a waiting `take` returns."""
        ...

    async def close(self) -> None:
        """Give the assignments back."""
        ...


class Publisher(Protocol):
    """Commits batches: all of one or nothing of it, and only what its assignments still own."""

    async def open(self) -> None:
        """Take the slot: fence whoever held it, end what it left open."""
        ...

    async def commit(self, batch: "Batch") -> None:
        """Return when the batch is committed, or when none of it may be committed by this process any more.

        Raises:
            SlotTaken: another process owns the slot; nothing of this batch was committed here.
        """
        ...

    async def close(self) -> None:
        """Let go of the slot."""
        ...

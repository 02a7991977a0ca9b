"""The port that deliveries come from. Kafka and the memory broker fit it."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from streams.assignment import Assignment
from streams.records import Delivery

Releases = Callable[[Iterable[Assignment]], Awaitable[None]]


class Source(Protocol):
    """The records of one consumer group's topics, delivered once per assignment, in order within a partition."""

    releases: Releases | None
    """Called with assignments that are about to go to another member, while they can still be committed."""

    @property
    def group(self) -> str:
        """The consumer group."""
        ...

    def located(self) -> Sequence[Assignment]:
        """The assignments whose beginning is known."""
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

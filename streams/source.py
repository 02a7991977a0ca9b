"""The port that deliveries come from. Kafka and the memory broker fit it."""

from collections.abc import Sequence
from typing import Protocol

from streams.records import Delivery


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

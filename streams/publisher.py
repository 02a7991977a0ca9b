"""The port that outcomes go to, committed with their offsets. Kafka and the memory broker fit it."""

from typing import Protocol

from streams.batch import Batch


class Publisher(Protocol):
    """Commits batches: all of one or nothing of it, and only what its assignments still own."""

    async def open(self) -> None:
        """Take the slot: fence whoever held it, end what it left open."""
        ...

    async def commit(self, batch: Batch) -> None:
        """Return when the batch is committed, or when none of it may be committed by this process any more.

        Raises:
            SlotTaken: another process owns the slot; nothing of this batch was committed here.
        """
        ...

    async def close(self) -> None:
        """Let go of the slot."""
        ...

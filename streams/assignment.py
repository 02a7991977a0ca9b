"""One assignment of one partition to this process: the watermark, and the token that fences outcomes of earlier ones.

The object is the token: an outcome counts only while its own assignment is live, even if the partition has come back.
"""

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from streams.commit_metadata import Position
from streams.isolation import CLEAN, begin, progressed

if TYPE_CHECKING:
    from streams.state import PartitionState


class Assignment:
    """What is started and what is finished of one partition since it was assigned.

    Watermark = the lowest unfinished offset, else the highest started + 1. Starts are explicit, so offsets that never
    appear (compaction, transaction markers) do not hold it back.
    """

    __slots__ = (
        "_awaited",
        "_began_at",
        "_highest",
        "_suspected_below",
        "_unfinished",
        "live",
        "note",
        "partition",
        "state",
        "topic",
    )

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.live = True
        self.note = CLEAN
        self.state: PartitionState[Any] | None = None
        """What an ordered stage remembers of this partition; topics read together share it."""
        self._highest = -1
        self._began_at = 0
        self._suspected_below = 0
        self._unfinished: dict[int, None] = {}  # insertion order is offset order: records arrive in order
        self._awaited: deque[int] = deque()  # unfinished at the last commit and not seen again yet

    def restore(self, position: Position, concurrency: int = 1, end: int | None = None) -> None:
        """Take over from the last commit of the group: nothing that it covers is run again.

        What its owners before may have had in work when they ended is suspected: what was unfinished, and up to twice
        `concurrency` offsets beyond (markers take offsets too), as far as the log goes (`end`).
        """
        self._highest = position.highest
        self._unfinished = dict.fromkeys(position.unfinished)
        self._awaited = deque(position.unfinished)
        self._began_at = position.base
        reach = position.highest + 1 + 2 * concurrency
        suspected_below = reach if end is None else min(reach, end)
        suspects = len(position.unfinished) + max(0, suspected_below - position.highest - 1)
        self.note = begin(position.note, min(suspects, concurrency))
        if self.note.isolates:
            self._suspected_below = suspected_below

    def begin_at(self, offset: int) -> None:
        """Begin at an offset of a partition that the group has never committed."""
        self._highest = offset - 1
        self._began_at = offset
        self.note = begin(CLEAN, 0)

    def start(self, offset: int) -> bool:
        """Note that the record at this offset is being worked on; False if its outcome was committed before."""
        while self._awaited and self._awaited[0] < offset:
            del self._unfinished[self._awaited.popleft()]  # it has vanished from the log
        if self._awaited and self._awaited[0] == offset:
            self._awaited.popleft()
            return True
        if offset <= self._highest:
            return False
        self._unfinished[offset] = None
        self._highest = offset
        return True

    def suspects(self, offset: int) -> bool:
        """Whether the record at this offset must run apart from others."""
        return offset < self._suspected_below

    def condemns(self, offset: int) -> bool:
        """Whether the record at this offset is given up: the process has ended too often with it alone."""
        return self.note.condemns and offset == next(iter(self._unfinished), None)

    def finish(self, offset: int) -> None:
        """Note that the outcome of the record at this offset is part of the next commit."""
        del self._unfinished[offset]
        base = self._base
        if base > self._began_at:
            self._began_at = base
            self.note = progressed(self.note, suspects_left=base < self._suspected_below)

    def run_apart(self) -> None:
        """Note that suspects of this partition are about to run, with nothing beside them."""
        self.note = replace(self.note, apart=True)

    def release(self) -> None:
        """Note that this owner lets go in good order."""
        self.note = CLEAN

    @property
    def _base(self) -> int:
        return next(iter(self._unfinished), self._highest + 1)

    @property
    def busy(self) -> bool:
        """Whether a record is in work; what was unfinished before and has not been seen again is not."""
        return len(self._unfinished) > len(self._awaited)

    @property
    def position(self) -> Position:
        """What to commit now; meaningful once it is known where the assignment begins."""
        return Position(self._base, self._highest, tuple(self._unfinished), self.note)

"""One assignment of one partition to this process: the watermark, and the token that fences outcomes of earlier ones.

The object is the token: an outcome counts only while its own assignment is live, even if the partition has come back.
"""

from collections import deque

from streams.commit_metadata import Position


class Assignment:
    """What is started and what is finished of one partition since it was assigned.

    Watermark = the lowest unfinished offset, else the highest started + 1. Starts are explicit, so offsets that never
    appear (compaction, transaction markers) do not hold it back.
    """

    __slots__ = ("_awaited", "_highest", "_unfinished", "live", "partition", "topic")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.live = True
        self._highest = -1
        self._unfinished: dict[int, None] = {}  # insertion order is offset order: records arrive in order
        self._awaited: deque[int] = deque()  # unfinished at the last commit and not seen again yet

    def restore(self, position: Position) -> None:
        """Take over from the last commit of the group: nothing that it covers is run again."""
        self._highest = position.highest
        self._unfinished = dict.fromkeys(position.unfinished)
        self._awaited = deque(position.unfinished)

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

    def finish(self, offset: int) -> None:
        """Note that the outcome of the record at this offset is part of the next commit."""
        del self._unfinished[offset]

    @property
    def position(self) -> Position:
        """What to commit now; meaningful once a record was started."""
        base = next(iter(self._unfinished), self._highest + 1)
        return Position(base, self._highest, tuple(self._unfinished))

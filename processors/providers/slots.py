"""How many calls a provider gets at once: fewer when it complains, more again while it does not (AIMD)."""

import asyncio
from collections import deque
from typing import Final

LESS: Final = 0.7
"""What is left of the limit after a complaint."""


class Slots:
    """Slots for calls. The limit starts at `most` and moves between one and it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._taken = 0
        self._well = 0
        self._deaf = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """Calls at once, now."""
        return int(self._limit)

    def take_free(self) -> bool:
        """Take a slot if one is free; whether it was."""
        if self._taken < self.limit and not self._waiting:
            self._taken += 1
            return True
        return False

    async def take(self) -> None:
        """Wait for a slot, and take it."""
        if self.take_free():
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif not turn.cancelled():
                self.give_back()
            raise

    def give_back(self) -> None:
        """A call has ended."""
        self._taken -= 1
        self._admit()

    def went_well(self) -> None:
        """A call was answered: after as many as the limit there is room for one more."""
        self._deaf = max(0, self._deaf - 1)
        self._well += 1
        if self._well >= self.limit and self._limit < self._most:
            self._well = 0
            self._limit = min(float(self._most), self._limit + 1)
            self._admit()

    def was_too_much(self) -> None:
        """The provider complained. The calls that were in flight with this one say nothing new: the next cut waits."""
        self._well = 0
        if self._deaf > 0:
            self._deaf -= 1
            return
        self._deaf = self.limit
        self._limit = max(1.0, self._limit * LESS)

    def _admit(self) -> None:
        while self._waiting and self._taken < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)

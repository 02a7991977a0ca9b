"""Back-pressure: queues form at the front, where priorities still mean something (EXACTLY_ONCE.md 6.1)."""

import asyncio
import math
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger(__name__)

ASK_EVERY_S = 0.5
ASK_AGAIN_S = 5.0
TIMES_CONCURRENCY = 2
"""Records that may wait for inference, as a multiple of what it works on at once, before intake holds back."""

Waiting = Callable[[], Awaitable[int]]
"""How many records wait to be started."""


class Gate:
    """Open while few enough records wait further on. What can't be asked holds nothing back."""

    def __init__(self, waiting: Waiting, at_most: int) -> None:
        self._waiting = waiting
        self._at_most: float = at_most
        self._open = asyncio.Event()
        self._open.set()

    def leave_open(self) -> None:
        """Hold nothing back any more: who is told to stop must not be waiting here."""
        self._at_most = math.inf
        self._open.set()

    async def passable(self) -> None:
        """Wait until the gate is open."""
        await self._open.wait()

    async def run(self) -> None:
        """Ask again and again, until cancelled."""
        while True:
            try:
                waiting = await self._waiting()
            except OSError as unknown:
                log.info("back-pressure unknown", error=str(unknown))
                await asyncio.sleep(ASK_AGAIN_S)
                waiting = 0
            if (waiting > self._at_most) is self._open.is_set():
                self._turn(waiting)
            await asyncio.sleep(ASK_EVERY_S)

    def _turn(self, waiting: int) -> None:
        if self._open.is_set():
            log.info("intake holds back", waiting=waiting)
            self._open.clear()
        else:
            log.info("intake goes on", waiting=waiting)
            self._open.set()

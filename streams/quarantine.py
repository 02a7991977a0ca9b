"""Suspects run here: in small groups, with nothing else in the process beside them, until they are committed."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from streams.assignment import Assignment

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Suspect:
    """A record that must run apart.

    `run` works on it and calls what it is given once the outcome is committed, or no longer matters; `note` commits the
    note of its assignment.
    """

    assignment: Assignment
    run: Callable[[Callable[[], None]], Awaitable[None]]
    note: Callable[[], Awaitable[None]]


class Quarantine:
    """One per process: as long as there are suspects, everything else waits."""

    def __init__(self) -> None:
        self._running = 0
        self._idle = asyncio.Event()
        self._open = asyncio.Event()
        self._some = asyncio.Event()
        self._idle.set()
        self._open.set()
        self._waiting: deque[Suspect] = deque()

    async def enter(self) -> None:
        """Start as usual: wait while suspects run, then count as running."""
        if not self._open.is_set():
            await self._open.wait()
        self._running += 1
        self._idle.clear()

    def leave(self) -> None:
        """Be committed."""
        self._running -= 1
        if self._running == 0:
            self._idle.set()

    def add(self, suspect: Suspect) -> None:
        """Have a suspect run apart."""
        self._waiting.append(suspect)
        self._open.clear()
        self._some.set()

    async def run(self) -> None:
        """Run suspects until cancelled."""
        while True:
            await self._some.wait()
            await self._idle.wait()
            while self._waiting:
                await self._run_group(self._next_group())
            self._some.clear()
            self._open.set()

    def _next_group(self) -> list[Suspect]:
        assignment = self._waiting[0].assignment
        size = max(1, assignment.note.limit)
        group = [suspect for suspect in self._waiting if suspect.assignment is assignment][:size]
        chosen = set(map(id, group))
        self._waiting = deque(suspect for suspect in self._waiting if id(suspect) not in chosen)
        log.warning("suspects run apart", topic=assignment.topic, partition=assignment.partition, records=len(group))
        return group

    async def _run_group(self, group: list[Suspect]) -> None:
        left, committed = len(group), asyncio.Event()

        def done() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                committed.set()

        # 1. whose suspects run is noted, so that the end of the process is laid to them alone; 2. run
        group[0].assignment.run_apart()
        await group[0].note()
        async with asyncio.TaskGroup() as tasks:
            for suspect in group:
                running = tasks.create_task(_run(suspect, done))
                if suspect.assignment.state is not None:  # where order counts, it counts here too
                    await running
            await committed.wait()


async def _run(suspect: Suspect, done: Callable[[], None]) -> None:
    await suspect.run(done)

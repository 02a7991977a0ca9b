"""Collects what stages have finished and commits it: one transaction at a time, opened when something is finished."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from streams.assignment import Assignment
from streams.batch import Batch, Commit, batch_of
from streams.deltas import Tell
from streams.publisher import Publisher
from streams.records import Finished
from streams.source import Source

PATIENCE_S = 0.1
"""Seconds that what nobody waits for is kept for the next transaction that commits its group anyway."""
BUSY = 32
LINGER_S = 0.01
"""After a transaction of many outcomes the next one waits so long for more: it costs no more for them, and stages that
take what it holds get more at once. What is alone waits for nothing."""
MAX_BATCH = 1000
"""Outcomes in one transaction at most: beyond, a transaction gets longer but no cheaper per record."""


Entry = tuple[Source, Finished, Callable[[], None]]


class Transactions:
    """One per process: what finishes during a commit goes into the next one."""

    def __init__(self, publisher: Publisher, tell: Tell | None = None) -> None:
        self._publisher = publisher
        self._tell = tell
        self._finished: deque[Entry] = deque()
        self._patient: dict[Source, list[Entry]] = {}  # what may wait, older than all else of its source
        self._notes: deque[tuple[Batch, asyncio.Future[None]]] = deque()
        self._something = asyncio.Event()
        self._later: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, source: Source, finished: Finished, committed: Callable[[], None]) -> None:
        """Have an outcome committed; `committed` is called when it is, or when it no longer matters."""
        entry = (source, finished, committed)
        self._idle.clear()
        if finished.emission.urgent or self._finished:
            entered = finished.emission.entered
            if entered is not None:  # changes of a state are committed in their order
                self._finished.extend(self._patient.pop(entered.source, ()))
            self._finished.extend((*self._patient.pop(source, ()), entry))
            self._something.set()
            if self._later is not None and not self._patient:
                self._later.cancel()
                self._later = None
            return
        self._patient.setdefault(source, []).append(entry)
        if self._later is None:
            self._later = asyncio.get_running_loop().call_later(PATIENCE_S, self._lose_patience)

    def _lose_patience(self) -> None:
        self._later = None
        for entries in self._patient.values():
            self._finished.extend(entries)
        self._patient.clear()
        self._something.set()

    async def note(self, source: Source, assignments: Iterable[Assignment]) -> None:
        """Commit where these assignments stand, and with it their notes; nothing else may be in work for them."""
        noted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        positions = {assignment: assignment.position for assignment in assignments if assignment.live}
        if not positions:
            return
        marks = [assignment.state.first_mark() for assignment in positions if assignment.state is not None]
        beside = tuple(mark for mark in marks if mark is not None)
        self._notes.append((Batch((), (Commit(source, positions),), beside), noted))
        self._something.set()
        await noted

    async def run(self) -> None:
        """Commit until cancelled."""
        while True:
            await self._something.wait()
            self._something.clear()  # before the look: what is added during a commit sets it again
            while self._notes or self._finished:
                await self._commit_notes()
                await self._commit_finished()

    async def _commit_finished(self) -> None:
        taken = [self._finished.popleft() for _ in range(min(len(self._finished), MAX_BATCH))]
        if not taken:
            return
        await self._publisher.commit(batch_of((source, one) for source, one, _ in taken))
        for _, finished, committed in taken:
            committed()
            if self._tell is not None and finished.delivery.assignment.live:
                for record in finished.emission.told:
                    self._tell(record)
        if not self._finished and not self._patient:
            self._idle.set()
        elif len(taken) >= BUSY:
            await asyncio.sleep(LINGER_S)

    async def _commit_notes(self) -> None:
        if not self._notes:
            return
        taken, self._notes = self._notes, deque()
        commits = tuple(commit for batch, _ in taken for commit in batch.commits)
        beside = tuple(mark for batch, _ in taken for mark in batch.beside)
        await self._publisher.commit(Batch((), commits, beside))
        for _, noted in taken:
            if not noted.done():
                noted.set_result(None)

    async def drained(self) -> None:
        """Wait until everything added is committed."""
        self._lose_patience()
        await self._idle.wait()

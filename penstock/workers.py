"""Several worker processes of one project: started, watched, started again when they die, drained together.

A worker is `penstock run` in a process of its own; it takes the first free slot, so that whoever follows a dead one
fences it at once. Its standard input is its leash: when this process ends, however it ends, the worker sees the end of
its input and drains. It says on its standard output when it is ready.
"""

import asyncio
import contextlib
import signal
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import structlog

from penstock.cli.codes import Exit
from penstock.restarts import LIMIT, GiveUp, RestartAfter, decide

log = structlog.get_logger(__name__)
T = TypeVar("T")

READY: Final = b"ready\n"
"""What a worker writes to its standard output once it takes records."""
GRACE_S: Final = 15.0
"""Seconds beyond the drain that a worker may take for its last commit and flush, before it is killed."""
AWAY_S: Final = 5.0
"""Seconds after which a worker is tried again that could not reach its broker or warehouse."""

_SIGNAL: Final = 128
_WHY: Final[dict[int, str]] = {
    Exit.OK: "it was told to stop",
    Exit.BAD: "it stopped for a reason that its last lines give",
    Exit.USAGE: "a setting or a project file can't be used; its last line says which",
    Exit.AWAY: "broker or warehouse are away",
    Exit.BUG: "a bug; its last line says more",
}


@dataclass
class Workers:
    """As many workers as were asked for, until SIGTERM or SIGINT. `command` starts one."""

    command: Sequence[str]
    count: int
    drain_s: float
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _first: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> int:
        """Run until told to stop, or until every worker was given up.

        Returns:
            The worst exit code: the last of each worker, 128 and its number for a signal.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stopping.set)
        return max(await asyncio.gather(*(self._keep(number) for number in range(self.count))))

    async def _keep(self, number: int) -> int:
        """One worker and those that follow it; the exit code of the last."""
        if number > 0:  # one alone finds what is missing (topics, versions) and makes it
            await self._unless_stopping(self._first.wait())
        deaths: deque[float] = deque(maxlen=LIMIT)
        code = 0
        while not self._stopping.is_set():
            code = await self._live(number)
            self._first.set()
            if self._stopping.is_set():
                break
            deaths.append(time.monotonic())
            wait_s = _next_start(number, code, deaths)
            if wait_s is None:
                break
            await self._unless_stopping(asyncio.sleep(wait_s))
        return code

    async def _live(self, number: int) -> int:
        """One life of a worker; its exit code."""
        process = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches this process only, which passes it on
        )
        log.info("worker started", number=number, pid=process.pid)
        ready = asyncio.create_task(self._note_ready(number, process))
        try:
            code = await self._unless_stopping(process.wait())
            return _plain(await self._drain(number, process) if code is None else code)
        finally:
            ready.cancel()
            if process.returncode is None:  # this process is being ended itself
                process.kill()

    async def _note_ready(self, number: int, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            if line == READY:
                log.info("worker ready", number=number, pid=process.pid)
                self._first.set()

    async def _drain(self, number: int, process: asyncio.subprocess.Process) -> int:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        limit_s = self.drain_s + GRACE_S
        ended = asyncio.create_task(process.wait())
        await asyncio.wait([ended], timeout=limit_s)
        if not ended.done():
            log.error("worker killed: it did not end in time", number=number, pid=process.pid, after_s=limit_s)
            process.kill()
        code = await ended
        return 0 if code == -signal.SIGTERM else code  # it had not begun yet

    async def _unless_stopping(self, waiting: Coroutine[Any, Any, T]) -> T | None:
        """What it waits for; None when told to stop before."""
        awaited = asyncio.create_task(waiting)
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([awaited, stopping], return_when=asyncio.FIRST_COMPLETED)
        done = awaited.done()
        for task in (awaited, stopping):
            task.cancel()
        return awaited.result() if done else None


def _plain(code: int) -> int:
    return code if code >= 0 else _SIGNAL - code


def _next_start(number: int, code: int, deaths: Sequence[float]) -> float | None:
    """Seconds until the next start of a worker that has ended; None: it is given up, and the log says why."""
    why = _WHY.get(code) or (signal.Signals(code - _SIGNAL).name if code > _SIGNAL else f"exit code {code}")
    told = {"number": number, "code": code, "why": why}
    if code == Exit.USAGE:  # the next one would find the same
        log.error("worker given up", **told, mend="mend it and start the workers anew")
        return None
    if code == Exit.AWAY:
        log.warning("worker ended", **told, again_in_s=AWAY_S)
        return AWAY_S
    match decide(deaths, time.monotonic()):
        case RestartAfter(seconds):
            log.warning("worker ended", **told, again_in_s=seconds)
            return seconds
        case GiveUp(times):
            mend = f"it ended {times} times within a minute; the others go on. Mend it and start the workers anew"
            log.error("worker given up", **told, mend=mend)
            return None

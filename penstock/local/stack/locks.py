"""Knows lock files: who holds one, and holding one. The kernel releases a dead holder's lock, so none is ever stale."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

import psutil

from penstock.local.errors import StackBusyError

_STEP_S: Final = 0.05
_SAYS_WITHIN_S: Final = 1.0


@contextlib.contextmanager
def hold(path: Path, *, wait_s: float, waiting: Callable[[int | None], None] | None = None) -> Iterator[None]:
    """Hold the lock for as long as the block runs; the file then says this process's pid.

    Args:
        path: The lock file; it is made and stays.
        wait_s: How long to wait for another holder.
        waiting: Called once, with the holder's pid if it is known, before the first wait.

    Raises:
        StackBusyError: the other holder did not let go within `wait_s` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + wait_s
    with path.open("a+") as file:
        while not _take(file):
            if waiting:
                waiting(_pid(path))
                waiting = None
            if time.monotonic() >= until:
                raise StackBusyError(
                    f"{path} is held by process {_pid(path) or '?'}, which did not let go in {wait_s:g} s"
                )
            time.sleep(_STEP_S)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def holder(path: Path) -> int | None:
    """Return the pid of the process that holds the lock, 0 if it does not say; None if nobody holds it."""
    until = time.monotonic() + _SAYS_WITHIN_S
    while True:
        try:
            with path.open() as file:
                # Taking it for this moment is the only portable test; who wants to hold it waits longer than a moment.
                if _take(file):
                    return None
        except FileNotFoundError:
            return None
        pid = _pid(path)
        # A new holder's file may still name the one before.
        if pid is not None and psutil.pid_exists(pid):
            return pid
        if time.monotonic() >= until:
            return 0
        time.sleep(_STEP_S)


def _take(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pid(path: Path) -> int | None:
    text = path.read_text().strip()
    return int(text) if text.isdigit() else None

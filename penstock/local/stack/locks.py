"""Knows lock files: who holds one, and holding one. The kernel releases a dead holder's lock, so none is ever stale."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from penstock.local.errors import StackBusyError

_STEP_S = 0.05


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
    """Return the pid of the process that holds the lock, 0 if it has not said yet; None if nobody holds it."""
    try:
        with path.open() as file:
            # Taking it for this moment is the only portable test; who wants to hold it waits longer than a moment.
            return None if _take(file) else _pid(path) or 0
    except FileNotFoundError:
        return None


def _take(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pid(path: Path) -> int | None:
    text = path.read_text().strip()
    return int(text) if text.isdigit() else None

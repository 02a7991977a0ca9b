"""Knows processes: starting a child with its log, recognising one by more than its pid, and ending it for certain."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from penstock.local.errors import StackStopError

_CLOCK_SLACK_S: Final = 2.0
_KILL_LIMIT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Identity:
    """A process, told apart from a later one with the same pid by its time of birth (seconds since 1970)."""

    pid: int
    created: float


def identify(pid: int) -> Identity | None:
    """Return the identity of a running process; None if there is none (a zombie is none)."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else Identity(pid, process.create_time())
    except psutil.Error:
        return None


def alive(identity: Identity | None) -> bool:
    """Whether exactly this process still runs."""
    if identity is None:
        return False
    now = identify(identity.pid)
    return now is not None and abs(now.created - identity.created) < _CLOCK_SLACK_S


class Child:
    """One run of a component, started by this process."""

    def __init__(self, command: tuple[str, ...], *, directory: Path, log: Path) -> None:
        """Start the command in a session of its own, so that a Ctrl-C meant for the terminal does not reach it.

        Args:
            command: Program and arguments.
            directory: Working directory, made if it is missing.
            log: File that standard output and error are appended to.
        """
        directory.mkdir(parents=True, exist_ok=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        self.log_start = log.stat().st_size if log.exists() else 0
        self.started_at = time.time()
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the stack's own command lines
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.identity = identify(self.pid) or Identity(self.pid, self.started_at)

    def exit_code(self) -> int | None:
        """Return the exit code (minus the signal's number if one ended it), or None while it runs."""
        return self._process.poll()

    def said(self, text: str) -> bool:
        """Whether this run has written the text to its log."""
        with self.log.open("rb") as file:
            file.seek(min(self.log_start, self.log.stat().st_size))  # a rotated log starts anew
            return text.encode() in file.read()

    def signal(self, number: int) -> None:
        """Send a signal to the child and whatever it started itself; nothing if it is gone."""
        if self.exit_code() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def stop(self, limit_s: float) -> int:
        """End it politely, after `limit_s` seconds by force; return its exit code."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)  # a stopped process can't end
        return self.wait(limit_s)

    def wait(self, limit_s: float) -> int:
        """Wait until it has ended, after `limit_s` seconds kill it; return its exit code."""
        try:
            return self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """End it at once (SIGKILL); return its exit code."""
        self.signal(signal.SIGKILL)
        return self._process.wait(_KILL_LIMIT_S)


def stop_all(identities: Iterable[Identity], limit_s: float) -> None:
    """End processes that are not this one's children: politely, after `limit_s` seconds by force.

    Raises:
        StackStopError: one is still there after SIGKILL.
    """
    wanted = [identity for identity in identities if alive(identity)]
    for number, patience in ((signal.SIGTERM, limit_s), (signal.SIGKILL, _KILL_LIMIT_S)):
        for identity in wanted:
            _signal_group(identity, number)
        until = time.monotonic() + patience
        while (wanted := [identity for identity in wanted if alive(identity)]) and time.monotonic() < until:
            time.sleep(0.05)
        if not wanted:
            return
    raise StackStopError(f"process {wanted[0].pid} is still there after SIGKILL; it may hang in the kernel")


def _signal_group(identity: Identity, number: int) -> None:
    """Signal a process and, if it leads a group (the stack's children do), the group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(identity.pid) == identity.pid:
            os.killpg(identity.pid, number)
            os.killpg(identity.pid, signal.SIGCONT)
        else:
            os.kill(identity.pid, number)
            os.kill(identity.pid, signal.SIGCONT)

"""Child processes: started with a log file, waited for, measured, ended; none outlives the block that started it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import psutil

T = TypeVar("T")

STEP_S: Final = 0.02
READY_S: Final = 60.0


class LabError(Exception):
    """A run that can't go on: a child died, or a condition did not come about in time."""


class Child:
    """One child process; its standard output and error go to `log`."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.log = log
        self._seen = log.stat().st_size if log.exists() else 0
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=dict(environment)
            )
        self._watched = psutil.Process(self._process.pid)

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def said(self) -> str:
        """What it wrote so far."""
        with self.log.open("rb") as file:
            file.seek(self._seen)
            return file.read().decode("utf-8", "replace")

    def wait_until_it_says(self, word: str, limit_s: float = READY_S) -> str:
        """Wait for a line that holds `word`; return the line.

        Raises:
            LabError: the child ends first, or `limit_s` seconds pass.
        """

        def line() -> str | None:
            return next((found for found in self.said().splitlines() if word in found), None)

        return self.wait_for(line, f"{word!r} in {self.log.name}", limit_s)

    def wait_for(self, condition: Callable[[], T | None], what: str, limit_s: float = READY_S) -> T:
        """Wait until the condition holds; return what it gave.

        Raises:
            LabError: the child ends first, or `limit_s` seconds pass.
        """
        return wait_for(condition, what, limit_s, (self,))

    def require_alive(self) -> None:
        """Raise LabError with the end of the log if the process is no more."""
        if (code := self._process.poll()) is not None:
            raise LabError(f"the process of {self.log.name} ended with {code}:\n{self.said()[-3000:]}")

    def exit_code(self) -> int | None:
        """How it ended, minus the signal's number if one ended it; None while it runs."""
        return self._process.poll()

    def frozen(self) -> bool:
        """Whether it is stopped (SIGSTOP) and waits for SIGCONT."""
        return self.exit_code() is None and self._watched.status() == psutil.STATUS_STOPPED

    def cpu_s(self) -> float:
        """CPU seconds that it has taken so far, all threads, user and system."""
        times = self._watched.cpu_times()
        return float(times.user + times.system)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def kill(self) -> float:
        """End it by SIGKILL and wait; return when it was dead, in seconds since 1970."""
        self._process.kill()
        self._process.wait()
        return time.time()

    def terminate(self, limit_s: float) -> int:
        """End it by SIGTERM; return its exit code.

        Raises:
            LabError: it still runs after `limit_s` seconds (and is killed).
        """
        self._process.terminate()
        try:
            return self._process.wait(limit_s)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise LabError(
                f"{self.log.name}: still running {limit_s:g} s after SIGTERM:\n{self.said()[-3000:]}"
            ) from error

    def close(self) -> None:
        """End it by whatever it takes."""
        if self._process.poll() is None:
            self.signal(signal.SIGCONT)  # what is stopped can't end
            with contextlib.suppress(LabError):
                self.terminate(10)


@contextlib.contextmanager
def running(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Iterator[Child]:
    """A child for as long as the block runs; by default with this process's environment."""
    child = Child(command, log, os.environ if environment is None else environment)
    try:
        yield child
    finally:
        child.close()


def module(name: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a module of this package or of the project."""
    return (sys.executable, "-m", name, *arguments)


def wait_for(condition: Callable[[], T | None], what: str, limit_s: float = READY_S, alive: Sequence[Child] = ()) -> T:
    """Wait until the condition gives something; return it.

    Raises:
        LabError: one of `alive` ends first, or `limit_s` seconds pass.
    """
    until = time.monotonic() + limit_s
    while not (found := condition()):
        for child in alive:
            child.require_alive()
        if time.monotonic() > until:
            logs = "".join(f"\n--- {child.log.name}\n{child.said()[-2000:]}" for child in alive)
            raise LabError(f"after {limit_s:g} s still not so: {what}{logs}")
        time.sleep(STEP_S)
    return found

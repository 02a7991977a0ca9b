"""A worker of this very installation as a child process: started, awaited, ended."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from penstock.cli.codes import Exit, Failed
from penstock.settings import Settings

READY: Final = b'"event": "ready"'
READY_LIMIT_S: Final = 60.0
STOP_LIMIT_S: Final = 45.0
STEP_S: Final = 0.05
TOLD_LINES: Final = 15


@contextlib.contextmanager
def running_worker(settings: Settings) -> Iterator[Callable[[], None]]:
    """Run `penstock run` for as long as the block runs; what is handed out checks that it still does.

    Raises:
        Failed: it ended, or was not ready in time; the end of its log is in the text.
    """
    log = settings.data_dir / "logs" / "demo-worker.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = (sys.executable, "-m", "penstock.cli", "run")
    with log.open("wb") as output:
        environment = os.environ | {"PENSTOCK_DATA_DIR": str(settings.data_dir)}
        child = subprocess.Popen(  # noqa: S603 -- our own command line
            command, cwd=settings.project, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        )
    try:
        _await_ready(child, log)
        yield lambda: _check(child, log)
    finally:
        _stop(child)


def _await_ready(child: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + READY_LIMIT_S
    while READY not in log.read_bytes():
        _check(child, log)
        if time.monotonic() > until:
            raise Failed(
                Exit.BAD, f"the worker was not ready after {READY_LIMIT_S:g} s; the end of {log}:\n{_tail(log)}"
            )
        time.sleep(STEP_S)


def _check(child: "subprocess.Popen[bytes]", log: Path) -> None:
    if child.poll() is not None:
        said = f"the worker ended with exit code {child.returncode}; the end of {log}:"
        raise Failed(Exit.BAD, f"{said}\n{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-TOLD_LINES:])


def _stop(child: "subprocess.Popen[bytes]") -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

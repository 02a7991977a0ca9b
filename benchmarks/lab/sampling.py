"""A sampling profiler for one process: where each thread is, every so much CPU time, weighted by the thread's CPU.

The kernel's profiling timer counts CPU time of the whole process and interrupts the main thread, which notes all
stacks. Compared with tracing every call, it costs little and doesn't make small functions look expensive.
"""

import gc
import json
import signal
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import Any, Final

INTERVAL_S: Final = 0.002
NATIVE: Final = "librdkafka and other native threads"
_ROOT: Final = str(Path(__file__).parents[2]) + "/"

Stack = tuple[str, ...]
"""Functions from the innermost outwards, each as `room/file.py:name` or `library/file.py:name`."""


class Sampler:
    """Samples between `start` and `stop`, both called on the main thread."""

    def __init__(self) -> None:
        self._seconds: defaultdict[tuple[str, Stack], float] = defaultdict(float)
        self._names: dict[Any, str] = {}
        self._spent: dict[int, float] = {}
        self._began = 0.0

    def start(self) -> None:
        """Begin."""
        self._spent = {thread: spent_s for thread, _, spent_s in _threads()}
        self._began = time.process_time()
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)

    def stop(self) -> None:
        """End; what other languages' threads took is in none of the stacks."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        seen = sum(self._seconds.values())
        self._seconds["(native threads)", (NATIVE,)] += max(0.0, time.process_time() - self._began - seen)

    def save(self, path: Path) -> None:
        """Write the samples as JSON: `[thread, seconds, [innermost, …]]`, heaviest first."""
        heaviest = sorted(self._seconds.items(), key=lambda item: -item[1])
        rows = [[thread, seconds, stack] for (thread, stack), seconds in heaviest]
        path.write_text(json.dumps(rows))

    def _sample(self, _number: int, interrupted: FrameType | None) -> None:
        frames = _frames()
        main = threading.main_thread().ident
        for thread, name, spent_s in _threads():
            seconds = spent_s - self._spent.get(thread, 0.0)
            self._spent[thread] = spent_s
            frame = interrupted if thread == main else frames.get(thread)
            if seconds > 0:
                self._seconds[name, self._stack(frame)] += seconds

    def _stack(self, frame: FrameType | None) -> Stack:
        stack = []
        while frame is not None:
            code = frame.f_code
            name = self._names.get(code)
            if name is None:
                name = self._names[code] = f"{_place(code.co_filename)}:{code.co_qualname}"
            stack.append(name)
            frame = frame.f_back
        return tuple(stack)


def _frames() -> dict[int, FrameType]:
    """Where each thread is.

    Without the collector: a finalizer that runs while the interpreter lists its threads can wait for ever for a thread
    that waits for that list.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames()  # noqa: SLF001 -- the documented way to see other threads' stacks
    finally:
        if collecting:
            gc.enable()


def _threads() -> list[tuple[int, str, float]]:
    """Python's threads: identifier, name without its number, CPU seconds so far."""
    found = []
    for thread in threading.enumerate():
        assert thread.ident is not None
        try:
            spent_s = time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        except OSError:  # it has just ended
            continue
        found.append((thread.ident, thread.name.split("_")[0], spent_s))
    return found


def _place(path: str) -> str:
    """A file as a reader knows it: by room, or by library."""
    for mark in ("/site-packages/", "/lib/python3."):
        if mark in path:
            tail = path.rpartition(mark)[2]
            return tail if mark == "/site-packages/" else tail.partition("/")[2]
    return path.removeprefix(_ROOT)

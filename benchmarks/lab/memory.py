"""What processes hold in memory, sampled on a thread of its own: unique set size, which no other process shares."""

import os
import platform
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Final, Self

import psutil

MIB: Final = 2**20
STEP_S: Final = 0.5


def uss_mib(pid: int) -> float:
    """MiB that would be free if the process ended."""
    return float(psutil.Process(pid).memory_full_info().uss) / MIB


def machine() -> dict[str, object]:
    """What is measured on, and how busy it is now."""
    load = [round(value, 1) for value in os.getloadavg()]
    return {"cpus": psutil.cpu_count(), "python": platform.python_version(), "system": platform.system(), "load": load}


@dataclass
class Watch:
    """Samples some processes, by name, for as long as the block runs."""

    pids: Mapping[str, int]
    samples: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self.samples = {name: [(time.monotonic(), uss_mib(pid))] for name, pid in self.pids.items()}
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(STEP_S):
            for name, pid in self.pids.items():
                try:
                    self.samples[name].append((time.monotonic(), uss_mib(pid)))
                except psutil.Error:  # it has ended
                    continue

    def highest(self, name: str) -> float:
        """The most that was seen, MiB."""
        return max(mib for _, mib in self.samples[name])

    def between(self, name: str, start: float, end: float) -> float:
        """The median between two times of the monotonic clock, MiB; of the samples next to them if there is none."""
        found = [mib for at, mib in self.samples[name] if start <= at <= end]
        return median(found or [self.samples[name][-1][1]])

"""How fast each rung answered lately: what routing holds against a job's latency limit.

Soft: every process learns it from the ends of the jobs that it routes, forgets it when it ends, and then knows nothing
for a while. What is not known stands in nobody's way; what a decision rested on is recorded with it.
"""

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from processors.settings import Rung

SHARE: Final = 0.95
"""Of the answers, that came within the time that counts: the percentile that latency objectives are mostly set for."""
LAST: Final = 100
"""Answers that count, the newest."""
LEAST: Final = 20
"""With fewer nothing is known: of 19 answers the 95th percentile would be the slowest one."""
RECENT: Final = timedelta(minutes=10)
"""Older answers don't count; so a rung that was too slow, and has had no jobs since, is tried again."""


@dataclass(slots=True)
class _Window:
    """The last answers of one rung: by age, and by length."""

    by_age: deque[tuple[datetime, float]] = field(default_factory=deque)
    by_ms: list[float] = field(default_factory=list)

    def take(self, at: datetime, ms: float) -> None:
        self.by_age.append((at, ms))
        insort(self.by_ms, ms)
        if len(self.by_age) > LAST:
            self._drop()

    def share_ms(self, now: datetime) -> float | None:
        """Milliseconds within which `SHARE` of the recent answers came: nearest rank; nothing where they are few."""
        while self.by_age and self.by_age[0][0] < now - RECENT:
            self._drop()
        if len(self.by_ms) < LEAST:
            return None
        return self.by_ms[math.ceil(SHARE * len(self.by_ms)) - 1]

    def _drop(self) -> None:
        _, ms = self.by_age.popleft()
        del self.by_ms[bisect_left(self.by_ms, ms)]


@dataclass(slots=True)
class Health:
    """The answers' times by workflow, version and rung."""

    _windows: dict[tuple[str, str, int], _Window] = field(default_factory=dict)

    def answered(self, workflow: str, version: str, rung: int, ms: float, at: datetime) -> None:
        """A rung of this version answered after so many milliseconds, for a job that ended at `at`."""
        key = workflow, version, rung
        if (window := self._windows.get(key)) is None:
            window = self._windows[key] = _Window()
        window.take(at, ms)

    def seen_ms(self, workflow: str, version: str, ladder: Sequence[Rung], now: datetime) -> dict[str, float]:
        """By variant, the milliseconds within which 95 of 100 answers came lately; absent where too few are known."""
        seen = {}
        for i, rung in enumerate(ladder):
            window = self._windows.get((workflow, version, i))
            if window is not None and (ms := window.share_ms(now)) is not None:
                seen[rung.variant] = ms
        return seen


SeenMs: TypeAlias = Callable[[str, str, Sequence[Rung], datetime], Mapping[str, float]]
"""How routing asks how fast the rungs of a workflow's version were lately."""


def nothing_seen(_workflow: str, _version: str, _ladder: Sequence[Rung], _now: datetime) -> Mapping[str, float]:
    """What is known where nobody looks: nothing."""
    return {}

"""Decides what follows a process's death: another start after a while, or giving up. Pure; time is an argument."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LIMIT: Final = 5
WINDOW_S: Final = 60.0
_FIRST_S: Final = 0.25
_LONGEST_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class RestartAfter:
    """Start it again after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Leave it dead: it died this often within the window."""

    deaths: int


def decide(deaths: Sequence[float], now: float) -> RestartAfter | GiveUp:
    """Decide from the times of a process's deaths, the last included: five within a minute are enough."""
    recent = sum(1 for death in deaths if now - death < WINDOW_S)
    if recent >= LIMIT:
        return GiveUp(recent)
    return RestartAfter(min(_FIRST_S * 2 ** max(0, recent - 1), _LONGEST_S))

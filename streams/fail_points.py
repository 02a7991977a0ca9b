"""Points at which a process can be made to fail, for tests of what a crash leaves behind. None is armed by default.

`PENSTOCK_FAIL_POINT=before-commit:20` makes the process kill itself (SIGKILL) when it reaches that point for the 20th
time; `before-commit:20:STOP` freezes it there (SIGSTOP) until somebody sends SIGCONT. Read once, at the first import.
"""

import os
import re
import signal
from collections.abc import Callable
from typing import Final

VARIABLE: Final = "PENSTOCK_FAIL_POINT"

BEFORE_COMMIT: Final = "before-commit"
"""A transaction's records and offsets are with the broker; its commit is not."""

_TOLD: Final = re.compile(rf"({BEFORE_COMMIT}):([1-9]\d{{0,8}})(?::(KILL|STOP))?", re.ASCII)


def _pass(_point: str) -> None:
    """No point is armed: go on."""


def armed(told: str) -> Callable[[str], None]:
    """What to call at each point: it fails where and when it was told to.

    Raises:
        ValueError: the text names no point, or not when.
    """
    if not told:
        return _pass
    match = _TOLD.fullmatch(told)
    if match is None:
        raise ValueError(f"{VARIABLE}={told!r}: expected {BEFORE_COMMIT}:<n>[:KILL|:STOP], n counted from 1")
    chosen, times_left, number = match[1], int(match[2]), signal.Signals[f"SIG{match[3] or 'KILL'}"]

    def reach(point: str) -> None:
        nonlocal times_left
        times_left -= point == chosen
        if point == chosen and times_left == 0:
            os.kill(os.getpid(), number)

    return reach


reach: Final = armed(os.environ.get(VARIABLE, ""))
"""Call it at a point, with the point's name."""

"""What a source does before partitions leave it in good order: calls in flight may end, and the release is noted."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Sequence
from typing import Any, Final, cast

from streams.assignment import Assignment
from streams.source import Releases

FINISH_S: Final = 10.0
"""Seconds that what is in work may take to end: cut off, its calls would be paid for again by the next owner. Only the
partitions that leave wait, and this source's next poll."""
LOOK_S: Final = 0.02
RELEASE_S: Final = 5.0
"""Seconds that a release, and the commit before it, may take before the partitions go without."""


def let_go(
    leaving: Sequence[Assignment], releases: Releases, loop: asyncio.AbstractEventLoop, give_up: threading.Event
) -> None:
    """Wait for what is in work, then have the release noted; if that can't be said now, it is no harm."""
    until = time.monotonic() + FINISH_S
    while any(assignment.busy for assignment in leaving) and time.monotonic() < until:
        give_up.wait(LOOK_S)
        if give_up.is_set():
            return
    with contextlib.suppress(RuntimeError, TimeoutError):
        asyncio.run_coroutine_threadsafe(cast("Any", releases(leaving)), loop).result(RELEASE_S)

"""A process that was frozen makes no calls before it knows which jobs are still its own.

A stopped machine, a laptop's sleep, SIGSTOP: others have taken its partitions meanwhile and answered what it still
holds. Kafka fences its outcomes; a provider takes its calls, and charges for them.
"""

import asyncio
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

import structlog

from streams.errors import NoLongerOurs
from streams.records import Delivery

log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0
FROZEN_S: Final = 5.0
"""Seconds without a look after which partitions may have been taken: a session ends after 10 s without a heartbeat, and
those come every 3 s."""
HOLD_S: Final = 6.0
"""Seconds in which the broker will have said so: two heartbeats."""

in_work: ContextVar[Delivery | None] = ContextVar("in_work", default=None)
"""The delivery that the running task works on."""


class Awake:
    """Watches the clock for time in which this process did not run; the wall clock, as others stop with a machine."""

    def __init__(self, clock: Callable[[], float] = time.time, hold_s: float = HOLD_S) -> None:
        self._clock = clock
        self._hold_s = hold_s
        self._seen = clock()
        self._sure = asyncio.Event()
        self._sure.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self._look()

    async def before_call(self) -> None:
        """Wait while it is not known whether the job in work is still this process's.

        Raises:
            NoLongerOurs: it is not.
        """
        self._look()  # whoever wakes up first looks first
        if not self._sure.is_set():
            await self._sure.wait()
        delivery = in_work.get()
        if delivery is not None and not delivery.assignment.live:
            raise NoLongerOurs(f"{delivery.address} went to another process")

    def _look(self) -> None:
        now = self._clock()
        gone_s, self._seen = now - self._seen, now
        if gone_s >= FROZEN_S:
            log.warning("was frozen: no calls until it is known whose the jobs are", gone_s=round(gone_s, 1))
            self._sure.clear()
            asyncio.get_running_loop().call_later(self._hold_s, self._sure.set)

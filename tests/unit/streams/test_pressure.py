"""Back-pressure at the front: when intake holds back and when it goes on; neither a fault nor a stop is in its way."""

import asyncio

import pytest

from streams import pressure
from streams.pressure import Gate


class Waiting:
    """Says how many records wait, or that it can't be told."""

    def __init__(self, count):
        self.count = count
        self.asked = asyncio.Event()

    async def __call__(self):
        self.asked.set()
        if isinstance(self.count, Exception):
            raise self.count
        return self.count

    async def asked_again(self):
        """Wait until an answer given from now on has been acted upon."""
        for _ in range(2):
            self.asked.clear()
            await self.asked.wait()


def watched(monkeypatch, waiting, at_most, check):
    """Run `check(gate)` while a gate asks without a pause."""
    monkeypatch.setattr(pressure, "ASK_EVERY_S", 0)
    monkeypatch.setattr(pressure, "ASK_AGAIN_S", 0)

    async def run():
        gate = Gate(waiting, at_most)
        asking = asyncio.create_task(gate.run())
        try:
            async with asyncio.timeout(5):
                await check(gate)
        finally:
            asking.cancel()

    asyncio.run(run())


@pytest.mark.parametrize("then", [10, OSError("no answer")], ids=["they have gone", "it can't be told"])
def test_intake_holds_back_while_too_many_wait_and_goes_on_after(monkeypatch, at_once, then):
    """As many as allowed hold nothing back, one more does; the gate opens when they have gone, or nobody can say."""
    waiting = Waiting(10)

    async def check(gate):
        await waiting.asked_again()
        assert at_once(gate.passable())
        waiting.count = 11
        await waiting.asked_again()
        assert not at_once(gate.passable())
        waiting.count = then
        await gate.passable()

    watched(monkeypatch, waiting, 10, check)


def test_whoever_stops_does_not_wait_at_the_gate(monkeypatch, at_once):
    """After leave_open nobody is held back, however many wait."""
    waiting = Waiting(11)

    async def check(gate):
        await waiting.asked_again()
        gate.leave_open()
        await waiting.asked_again()
        assert at_once(gate.passable())

    watched(monkeypatch, waiting, 10, check)

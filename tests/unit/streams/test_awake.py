"""A process that was frozen holds its calls, and makes none for jobs that have gone to others."""

import asyncio

import pytest

from streams.assignment import Assignment
from streams.awake import FROZEN_S, Awake, in_work
from streams.errors import NoLongerOurs
from streams.records import Address, Delivery, Raw


class Clock:
    """A wall clock that the test moves."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


async def test_calls_are_held_for_a_while_after_a_freeze_and_at_no_other_time(at_once):
    """A pause that no session ends by, and a clock that is set back, hold nothing up."""
    clock = Clock()
    awake = Awake(clock, hold_s=0.01)
    for gap_s in (0.0, FROZEN_S - 1, -3_600.0):
        clock.now += gap_s
        assert at_once(awake.before_call())
    clock.now += FROZEN_S
    assert not at_once(awake.before_call())
    async with asyncio.timeout(5):
        await awake.before_call()


async def test_a_job_that_has_gone_is_not_called_for():
    """The partition was lost while the job waited for a slot."""
    assignment = Assignment("routed", 0)
    in_work.set(Delivery(Address("routed", 0, 7), 0, Raw(None, None), assignment))
    awake = Awake(Clock())
    await awake.before_call()
    assignment.live = False
    with pytest.raises(NoLongerOurs, match="routed/0/7"):
        await awake.before_call()

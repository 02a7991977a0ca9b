import pytest

from processors.policy.breaker import Breaker, Health, Limits, State
from processors.policy.retry_budget import AT_FIRST, MOST, RetryBudget

GOOD, SLOW, BAD, NEUTRAL = Health.GOOD, Health.SLOW, Health.BAD, Health.NEUTRAL


def _breaker(**limits):
    told = []
    return Breaker(Limits(**limits), lambda *change: told.append(change)), told


def _calls(breaker, healths, now=0.0):
    for health in healths:
        assert breaker.wait_s(now) == 0
        breaker.ended(health, now)


def test_five_in_succession_open_it_and_a_good_probe_closes_it():
    """Open for 30 s, then one call goes through; every change is told with its reason."""
    breaker, told = _breaker()
    _calls(breaker, [GOOD, *[BAD] * 5])
    assert breaker.wait_s(10.0) == 20.0
    assert breaker.wait_s(30.0) == 0
    assert breaker.wait_s(30.0) == 1.0
    breaker.ended(GOOD, 31.0)
    assert breaker.wait_s(31.0) == 0
    assert [(before, after) for before, after, _ in told] == [
        (State.CLOSED, State.OPEN),
        (State.OPEN, State.HALF_OPEN),
        (State.HALF_OPEN, State.CLOSED),
    ]
    assert told[0][2] == "5 calls in a row failed"


@pytest.mark.parametrize(
    ("healths", "opens"),
    [
        ([BAD, GOOD] * 5, True),
        ([BAD, GOOD] * 4 + [GOOD], False),  # nine calls are too few
        ([SLOW, GOOD] * 5, True),
        ([SLOW] * 9, False),
        ([SLOW] * 10, True),
        ([BAD, GOOD, GOOD] * 10, False),
        ([NEUTRAL] * 50, False),
        ([BAD, BAD, NEUTRAL, BAD, BAD, GOOD], False),
        ([BAD, BAD, NEUTRAL, BAD, BAD, BAD], True),
    ],
)
def test_half_of_ten_or_five_in_succession(healths, opens):
    """Bad and slow count alike; neutral calls neither help nor harm."""
    breaker, _ = _breaker()
    _calls(breaker, healths)
    assert (breaker.state is State.OPEN) is opens


def test_what_is_long_ago_does_not_count():
    """Only the last thirty seconds do."""
    breaker, _ = _breaker()
    _calls(breaker, [BAD, GOOD, BAD, GOOD, BAD, GOOD, BAD, GOOD], now=0.0)
    _calls(breaker, [GOOD, BAD], now=30.0)
    assert breaker.state is State.CLOSED


def test_a_probe_that_says_nothing_is_followed_by_another():
    """A rate limit neither closes nor opens it, and does not keep the probe's place."""
    breaker, told = _breaker()
    _calls(breaker, [BAD] * 5)
    assert breaker.wait_s(30.0) == 0
    breaker.ended(NEUTRAL, 30.5)
    assert breaker.state is State.HALF_OPEN
    assert breaker.wait_s(30.5) == 0
    breaker.ended(BAD, 31.0)
    assert breaker.wait_s(31.0) == 30.0
    assert told[-1][2] == "the probe failed"


def test_calls_that_end_while_it_is_open_change_nothing():
    """They began before it opened."""
    breaker, _ = _breaker()
    _calls(breaker, [BAD] * 5)
    breaker.ended(GOOD, 1.0)
    breaker.ended(BAD, 2.0)
    assert breaker.wait_s(10.0) == 20.0


def test_a_fifth_may_be_repeated():
    """Ten are free at first; then every first attempt pays for a fifth of a repetition."""
    budget = RetryBudget()
    assert [budget.repeat() for _ in range(AT_FIRST + 1)] == [True] * AT_FIRST + [False]
    for _ in range(5):
        budget.first()
    assert [budget.repeat(), budget.repeat()] == [True, False]
    for _ in range(10_000):
        budget.first()
    assert budget.left == MOST

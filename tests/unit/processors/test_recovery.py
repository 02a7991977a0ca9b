import pytest

from processors.outcome import NO_FACTS, Climb, Escalate, Reject, Retry
from processors.policy.recovery import Again, Elsewhere, Place, backoff_s, recover
from processors.providers.errors import ErrorClass
from processors.providers.port import Exchange, Failure

PLACE = Place(attempts=1, round=0, left_s=100, higher=False, elsewhere=False, other_provider=False, capped=False)


def _failure(error_class, retry_after_s=None):
    return Failure(Exchange("{}"), error_class, "said", retry_after_s)


def _place(**changes):
    fields = {name: getattr(PLACE, name) for name in PLACE.__slots__}
    return Place(**(fields | changes))


def test_the_backoff_doubles_up_to_ten_seconds():
    """Half a second, one, two, four, eight, ten, ten."""
    assert [backoff_s(n) for n in range(1, 8)] == [0.5, 1, 2, 4, 8, 10, 10]


def test_no_wait_in_place_reaches_past_the_deadline():
    """With less left than the wait, nothing is waited for here."""
    failure = _failure(ErrorClass.WAIT_UNTIL, 4.0)
    assert recover(failure, _place(left_s=4.1), 1.0, NO_FACTS) == Again(4.0)
    assert isinstance(recover(failure, _place(left_s=4.0), 1.0, NO_FACTS), Reject)


def test_a_time_out_is_not_repeated_in_place():
    """What took too long would take too long again."""
    assert isinstance(recover(_failure(ErrorClass.RETRYABLE_ELSEWHERE), PLACE, 0.0, NO_FACTS), Retry)


@pytest.mark.parametrize(("round_", "outcome"), [(0, Retry), (1, Retry), (2, Climb), (3, Climb)])
def test_rounds_before_a_climb(round_, outcome):
    """Two rounds are waited for; then another model, if there is one."""
    place = _place(attempts=3, round=round_, higher=True, elsewhere=True)
    assert isinstance(recover(_failure(ErrorClass.RETRYABLE_HERE), place, 0.5, NO_FACTS), outcome)


def test_a_longer_wait_that_the_provider_asks_for_is_kept():
    """Sixty seconds asked, sixty waited."""
    outcome = recover(_failure(ErrorClass.WAIT_UNTIL, 60.0), PLACE, 0.5, NO_FACTS)
    assert outcome == Retry("wait_until: said", 60.0)


@pytest.mark.parametrize(
    ("error_class", "changes", "outcome"),
    [
        (ErrorClass.WAIT_UNTIL, {}, Elsewhere),
        (ErrorClass.WAIT_UNTIL, {"parks": True}, Again),
        (ErrorClass.WAIT_UNTIL, {"parks": True, "attempts": 3}, Retry),
        (ErrorClass.RETRYABLE_HERE, {}, Again),
        (ErrorClass.RETRYABLE_HERE, {"attempts": 3}, Elsewhere),
        (ErrorClass.RETRYABLE_ELSEWHERE, {}, Elsewhere),
        (ErrorClass.CREDENTIAL_DEAD, {}, Elsewhere),
        (ErrorClass.CONTENT_REFUSED, {}, Escalate),
        (ErrorClass.OURS_TO_FIX, {}, Escalate),
    ],
)
def test_over_first_wait_second(error_class, changes, outcome):
    """A limited target is not waited for where a fallback can be asked; what no other target would mend stays here."""
    assert isinstance(recover(_failure(error_class), _place(fallback=True, **changes), 0.5, NO_FACTS), outcome)


def test_without_leave_nothing_is_repeated_in_place():
    """An exhausted budget sends the job over, or back later; it is asked only where a repetition would follow."""
    asked = []
    failure = _failure(ErrorClass.RETRYABLE_HERE)
    assert isinstance(recover(failure, PLACE, 0.5, NO_FACTS, lambda: bool(asked.append(1))), Retry)
    assert isinstance(recover(failure, _place(fallback=True), 0.5, NO_FACTS, lambda: False), Elsewhere)
    recover(_failure(ErrorClass.OURS_TO_FIX), PLACE, 0.5, NO_FACTS, lambda: bool(asked.append(2)))
    assert asked == [1]

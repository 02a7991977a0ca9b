"""After a failed attempt: wait and try again here, come back later, climb, hand to a person, or end. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from processors.outcome import Climb, Escalate, Facts, FailureClass, Reject, Retry
from processors.providers.errors import ErrorClass
from processors.providers.port import Failure
from schemas.stages import Status

MAX_ATTEMPTS = 3
"""Attempts in place: the first and two retries."""
BASE_WAIT_S = 0.5
CAP_WAIT_S = 10.0
MAX_IN_PLACE_S = 5.0
"""The longest wait in place, in seconds; longer ones are spent as a record that waits."""
LATER_S = 10.0
ROUNDS_BEFORE_CLIMB = 2

_IN_PLACE = frozenset({ErrorClass.RETRYABLE_HERE, ErrorClass.WAIT_UNTIL})
_LATER = _IN_PLACE | {ErrorClass.RETRYABLE_ELSEWHERE}
_OVER = _LATER | {ErrorClass.CREDENTIAL_DEAD}


@dataclass(frozen=True, slots=True)
class Again:
    """Try again here after so many seconds."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Ask the rung's next fallback, at once."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the job stands when an attempt fails.

    `attempts` counts those made of this target in this round, `left_s` is what is left of the deadline in seconds. Of
    the rungs above that stand open, `higher` says that there is one, `elsewhere` that one has another model,
    `other_provider` that one has another provider. `capped` says that the job names a limit of cost, `fallback` that
    the rung has another target which stands open, and `parks` that a rate limit is no reason to ask it.
    """

    attempts: int
    round: int
    left_s: float
    higher: bool
    elsewhere: bool
    other_provider: bool
    capped: bool
    fallback: bool = False
    parks: bool = False


Recovery: TypeAlias = Again | Elsewhere | Retry | Climb | Escalate | Reject


def recover(
    failure: Failure, place: Place, chance: float, facts: Facts, may_repeat: Callable[[], bool] = lambda: True
) -> Recovery:
    """What follows a failure.

    Args:
        failure: why there is no answer.
        place: where the job stands.
        chance: a random number from 0 up to 1, for the jitter.
        facts: what is known so far.
        may_repeat: takes leave to repeat from the provider's budget; asked only if it is to be repeated.
    """
    said = f"{failure.error_class}: {failure.error}"
    # A target that is limited is not waited for where another can be asked: over first, wait second.
    limited = failure.error_class is ErrorClass.WAIT_UNTIL
    if limited and place.fallback and not place.parks:
        return Elsewhere()
    if failure.error_class in _IN_PLACE:
        wait = in_place_wait(failure, place, chance)
        if wait is not None and may_repeat():
            return Again(wait)
    if place.fallback and failure.error_class in _OVER and not (limited and place.parks):
        return Elsewhere()
    if failure.error_class in _LATER:
        return _later(failure, place, said, facts)
    # A dead key is dead for every model of its provider.
    climbable = place.other_provider if failure.error_class is ErrorClass.CREDENTIAL_DEAD else place.higher
    if climbable and failure.error_class is not ErrorClass.CONTENT_REFUSED:
        return Climb(said, facts)
    refused = failure.error_class is ErrorClass.CONTENT_REFUSED  # an answer, though none to give
    return Escalate(said, facts=facts, failed=None if refused else FailureClass.PROVIDER)


def in_place_wait(failure: Failure, place: Place, chance: float) -> float | None:
    """Seconds to wait before the next attempt in place; nothing if there shall be none.

    A job with a limit of cost does not repeat in place what may have cost something: routing weighs that first.
    """
    if place.attempts >= MAX_ATTEMPTS or (place.capped and failure.may_have_run):
        return None
    wait = failure.retry_after_s
    if wait is None:
        wait = min(chance * backoff_s(place.attempts), MAX_IN_PLACE_S)
    return wait if wait <= MAX_IN_PLACE_S and wait < place.left_s else None


def backoff_s(attempts: int) -> float:
    """The upper end of the wait after so many attempts: half a second, doubling, at most ten."""
    return min(CAP_WAIT_S, BASE_WAIT_S * 2.0 ** (attempts - 1))


def _later(failure: Failure, place: Place, said: str, facts: Facts) -> Recovery:
    after = max(failure.retry_after_s or 0.0, LATER_S)
    if place.elsewhere and (place.round >= ROUNDS_BEFORE_CLIMB or after >= place.left_s):
        return Climb(said, facts)
    if after < place.left_s:
        return Retry(said, after, facts)
    reason = f"{said}; {max(place.left_s, 0):.1f} s before the deadline there is no time for another round"
    return Reject(Status.EXPIRED, reason, facts=facts)

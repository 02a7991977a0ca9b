"""When to stop calling a target that fails or crawls, and when to try it again. Pure: times are given, in seconds.

A breaker opens when half of at least ten calls within thirty seconds were bad or slow, or five in a row were bad. After
thirty seconds one call is let through as a probe: if it is good the breaker closes, if it is bad it opens again; if it
says nothing about the target's health, as a rate limit does, the next call is the probe.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    """Closed lets calls through, open none, half-open one at a time."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Health(StrEnum):
    """What a call says about its target. Neutral is what has other reasons: a rate limit, a mistake of ours."""

    GOOD = "good"
    SLOW = "slow"
    BAD = "bad"
    NEUTRAL = "neutral"


@dataclass(frozen=True, slots=True)
class Limits:
    """When it opens: `share` of at least `least` calls within `window_s`, or `in_succession` bad; and for how long."""

    share: float = 0.5
    least: int = 10
    window_s: float = 30.0
    in_succession: int = 5
    open_s: float = 30.0


@dataclass(slots=True)
class Breaker:
    """One target's breaker. `told` hears of every change: from, to, why."""

    limits: Limits = Limits()
    told: Callable[[State, State, str], None] = lambda _from, _to, _why: None
    state: State = State.CLOSED
    _open_until: float = 0.0
    _probing: bool = False
    _bad_in_succession: int = 0
    _ended: deque[tuple[float, Health]] = field(default_factory=deque)
    _troubled: int = 0
    """Of those that ended, how many were bad or slow: counted along, since there may be thousands."""

    def wait_s(self, now: float) -> float:
        """Take leave to call: 0 if it is given, else the seconds after which it is worth asking again.

        Whoever was given leave says how the call ended, by `ended`.
        """
        if self.state is State.OPEN:
            if now < self._open_until:
                return self._open_until - now
            self._become(State.HALF_OPEN, f"{self.limits.open_s:g} s have passed: the next call is a probe")
        if self.state is State.HALF_OPEN:
            if self._probing:
                return 1.0
            self._probing = True
        return 0.0

    def ended(self, health: Health, now: float) -> None:
        """A call that had leave has ended."""
        if self.state is State.HALF_OPEN:
            self._probed(health, now)
        elif self.state is State.CLOSED:
            self._count(health, now)

    def _probed(self, health: Health, now: float) -> None:
        self._probing = False
        if health in (Health.GOOD, Health.SLOW):
            self._forget()
            self._become(State.CLOSED, "the probe was answered")
        elif health is Health.BAD:
            self._open(now, "the probe failed")

    def _count(self, health: Health, now: float) -> None:
        if health is Health.NEUTRAL:
            return None
        self._ended.append((now, health))
        self._troubled += health is not Health.GOOD
        while self._ended[0][0] <= now - self.limits.window_s:
            self._troubled -= self._ended.popleft()[1] is not Health.GOOD
        self._bad_in_succession = self._bad_in_succession + 1 if health is Health.BAD else 0
        if self._bad_in_succession >= self.limits.in_succession:
            return self._open(now, f"{self._bad_in_succession} calls in a row failed")
        calls = len(self._ended)
        if calls >= self.limits.least and self._troubled >= self.limits.share * calls:
            self._open(now, f"{self._troubled} of {calls} calls in {self.limits.window_s:g} s failed or were slow")
        return None

    def _open(self, now: float, why: str) -> None:
        self._forget()
        self._open_until = now + self.limits.open_s
        self._become(State.OPEN, why)

    def _forget(self) -> None:
        self._ended.clear()
        self._troubled = 0
        self._bad_in_succession = 0
        self._probing = False

    def _become(self, state: State, why: str) -> None:
        before, self.state = self.state, state
        self.told(before, state, why)

"""How many repetitions a provider is given: a fifth of what is asked of it, lest they make an outage worse. Pure.

The tokens are those of Finagle's RetryBudget: every first attempt pays a fifth of one in, every repetition takes one.
"""

from dataclasses import dataclass
from typing import Final

FIRST_PER_REPETITION: Final = 5
AT_FIRST: Final = 10
"""Repetitions that are free before there was any traffic to speak of."""
MOST: Final = 100


@dataclass(slots=True)
class RetryBudget:
    """One provider's; counted in parts of a repetition."""

    _parts: int = AT_FIRST * FIRST_PER_REPETITION

    @property
    def left(self) -> int:
        """Repetitions that it has leave for."""
        return self._parts // FIRST_PER_REPETITION

    def first(self) -> None:
        """A first attempt was made."""
        self._parts = min(MOST * FIRST_PER_REPETITION, self._parts + 1)

    def repeat(self) -> bool:
        """Take leave to repeat; False if there is none."""
        if self.left < 1:
            return False
        self._parts -= FIRST_PER_REPETITION
        return True

"""The keys of a provider: used in turn; one that is rate-limited rests, one that is refused is not used again."""

from dataclasses import dataclass, field
from typing import Final

FIRST_REST_S: Final = 5.0
LONGEST_REST_S: Final = 60.0
REFUSED_S: Final = 300.0
"""A refused key seldom comes back; whoever pays a bill or grants a right need not restart anything."""


@dataclass(slots=True)
class Key:
    """One key, by its number in models.toml. Its text is in no representation. Times are seconds of one clock."""

    number: int
    text: str | None = field(repr=False)
    rests_until: float = 0.0
    limited_times: int = 0
    dead: bool = False

    def limited(self, asked_s: float | None, now: float) -> float:
        """It is rate-limited: it rests as long as the provider asks, or 5 s, doubling with each time in a row.

        Returns for how long. Calls that were in flight meanwhile and are refused too do not make it longer.
        """
        if asked_s is None and now >= self.rests_until:
            asked_s = min(LONGEST_REST_S, FIRST_REST_S * 2.0**self.limited_times)
            self.limited_times = min(self.limited_times + 1, 10)
        self.rests_until = max(self.rests_until, now + (asked_s or 0.0))
        return self.rests_until - now

    def refused(self, now: float) -> float:
        """It is refused: it is not used again for so many seconds, which it returns."""
        self.dead = True
        self.rests_until = now + REFUSED_S
        return REFUSED_S

    def answered(self) -> None:
        """It works."""
        self.limited_times, self.dead = 0, False


class Keys:
    """A provider's keys. One without a key has one that is empty."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._keys = [Key(number, text) for number, text in enumerate(texts or (None,), 1)]
        self._next = 0

    def pick(self, now: float) -> Key | None:
        """The next key that may be used, in turn; nothing if all rest or are refused."""
        for step in range(len(self._keys)):
            key = self._keys[(self._next + step) % len(self._keys)]
            if key.rests_until <= now:
                self._next = key.number % len(self._keys)
                return key
        return None

    @property
    def dead(self) -> bool:
        """Whether all were refused."""
        return all(key.dead for key in self._keys)

    def wait_s(self, now: float) -> float:
        """Seconds until the first of them has rested."""
        return max(0.0, min(key.rests_until - now for key in self._keys))

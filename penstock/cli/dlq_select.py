"""Which dead letters a command means: addresses, filters, times; and what is known of each. Nothing here prints."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from penstock.cli.codes import Exit, Failed
from schemas.dead_letter_events import DeadLetterActionEvent
from streams.dead_letters import Letter, State, Wanted, state_of
from streams.errors import LetterUnfit
from streams.kafka.dead_letters import LetterBox
from streams.records import Address
from streams.topics import DEAD_LETTERS

_ADDRESS: Final = re.compile(r"(?:([A-Za-z0-9._-]+)/)?(\d{1,9})/(\d{1,18})", re.ASCII)
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LONGEST_S: Final = 36_500 * 86_400


@dataclass(frozen=True, slots=True)
class Found:
    """A letter without its value, what was done about it, and how many bytes its value has."""

    letter: Letter
    size: int
    action: DeadLetterActionEvent | None

    @property
    def state(self) -> State:
        """Whether somebody has dealt with it."""
        return state_of(self.letter, {str(self.letter.address): self.action} if self.action else {})

    @property
    def n(self) -> int:
        """How many things were done about it."""
        return self.action.n if self.action else 0


def address(text: str) -> Address:
    """A letter's address, `dead-letters/3/17` or `3/17`, or that of the record that was given up on: `routed/2/40`.

    Raises:
        Failed: it is none.
    """
    told = _ADDRESS.fullmatch(text)
    if told is None:
        said = (
            f"{text!r} is no address: expected {DEAD_LETTERS.name}/PARTITION/OFFSET as `penstock dlq list` prints it, "
            "or the address of the record that was given up on, as a failed result names it"
        )
        raise Failed(Exit.USAGE, said)
    return Address(told[1] or DEAD_LETTERS.name, int(told[2]), int(told[3]))


def span_s(text: str) -> float:
    """Seconds of a span of time such as 90s, 30m, 2h, 7d or 2w.

    Raises:
        Failed: it is none.
    """
    told = _SPAN.fullmatch(text)
    if told is None or (seconds := float(told[1]) * _SECONDS[told[2]]) > _LONGEST_S:
        raise Failed(
            Exit.USAGE, f"{text!r} is no span of time: expected a number and s, m, h, d or w, such as 30m or 7d"
        )
    return seconds


def moment(text: str, now: datetime) -> datetime:
    """A time: how long ago (2h, 7d), or ISO 8601; without a zone it is UTC.

    Raises:
        Failed: it is neither.
    """
    if _SPAN.fullmatch(text):
        return now - timedelta(seconds=span_s(text))
    try:
        told = datetime.fromisoformat(text)
    except ValueError as error:
        said = f"{text!r} is no time: expected how long ago (30m, 2h, 7d) or an ISO time (2026-11-21T08:00)"
        raise Failed(Exit.USAGE, said) from error
    return told.replace(tzinfo=UTC) if told.tzinfo is None else told


def find(
    box: LetterBox, actions: Mapping[str, DeadLetterActionEvent], named: Sequence[Address], wanted: Wanted
) -> list[Found]:
    """The letters that are named, or, if none is, all that are wanted; the oldest first.

    Raises:
        LetterUnfit: one that is named is not there.
        BrokerAway: the broker does not answer.
    """
    if all(one.topic == DEAD_LETTERS.name for one in named) and named:
        letters = [_bare(letter) for letter in box.fetch(named)]
    else:
        letters = [_bare(letter) for letter in box.letters(wanted.since) if _is_named(letter, named)]
    if named:
        _require_all(named, [letter for letter, _ in letters])
    found = [Found(letter, size, actions.get(str(letter.address))) for letter, size in letters if wanted.fits(letter)]
    return sorted(found, key=_age)


def _age(one: Found) -> tuple[datetime, int, int]:
    return one.letter.at, one.letter.address.partition, one.letter.address.offset


def _bare(letter: Letter) -> tuple[Letter, int]:
    """Many letters are kept at once, so their values are not."""
    return replace(letter, raw=replace(letter.raw, value=None)), len(letter.raw.value or b"")


def _is_named(letter: Letter, named: Sequence[Address]) -> bool:
    return not named or letter.address in named or letter.origin in named


def _require_all(named: Sequence[Address], letters: Sequence[Letter]) -> None:
    known = {place for letter in letters for place in (letter.address, letter.origin)}
    if missing := [str(one) for one in named if one not in known]:
        raise LetterUnfit(
            f"there is no dead letter {', '.join(missing[:5])}: list them with `penstock dlq list`; letters are kept "
            f"{DEAD_LETTERS.settings.retention_ms // 86_400_000} days unless the topic says otherwise"
        )

"""Doing something about many dead letters: in small transactions, at a rate, each letter answered for."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from penstock.cli.dlq_select import Found
from streams.claim_store import ClaimStore
from streams.claims import claim_of
from streams.dead_letters import Letter
from streams.errors import ClaimAway, LetterUnfit
from streams.records import Record
from streams.redrive import Done

AT_ONCE: Final = 50
"""Letters in one transaction at most."""
BYTES_AT_ONCE: Final = 16 * 1024 * 1024

Make = Callable[[Letter, int], Done]
"""What is done about a letter, given how many things were done about it with this one; raises LetterUnfit."""
Commit = Callable[[Sequence[Record]], None]


@dataclass
class Account:
    """What became of every letter."""

    done: list[Done] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Pace:
    """At most so many a second."""

    rate: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self._began = self.clock()
        self._done = 0

    def keep(self, count: int) -> None:
        """Wait until so many more may have been done."""
        self._done += count
        if (early_s := self._began + self._done / self.rate - self.clock()) > 0:
            self.sleep(early_s)


def opened(letter: Letter, store: ClaimStore) -> Letter:
    """The letter with its value, wherever that lies.

    Raises:
        ClaimAway: the claim store does not give it.
        Unreadable: it says that it carries a claim, and holds none.
    """
    if not letter.claim or (claim := claim_of(letter.raw)) is None:
        return letter
    try:
        return letter.holding(store.get(claim.sha256, claim.size))
    except ClaimAway as away:
        raise ClaimAway(f"{letter.address}: its value is not to be had: {away}; it was put at {claim.uri}") from away


def act(
    letters: Iterable[Letter], store: ClaimStore, chosen: Sequence[Found], make: Make, commit: Commit, pace: Pace
) -> Iterator[Account]:
    """Do it, batch by batch; what a batch holds is done when it is given back. `letters` are those chosen, with values.

    Raises:
        StreamsError: it can't go on; what was given back before is done.
    """
    acts = {one.letter.address: one.n + 1 for one in chosen}
    for batch in batches(letters, max(1, int(min(AT_ONCE, pace.rate)))):
        account = Account()
        for letter in batch:
            try:
                account.done.append(make(opened(letter, store), acts[letter.address]))
            except (LetterUnfit, ClaimAway, ValueError) as unfit:
                account.refused.append((str(letter.address), str(unfit)))
        if account.done:
            commit([record for one in account.done for record in one.records])
        yield account
        pace.keep(len(account.done))


def batches(letters: Iterable[Letter], most: int) -> Iterator[list[Letter]]:
    """Letters in batches that are small in number and in bytes."""
    waiting, size = [], 0
    for letter in itertools.chain(letters, (None,)):
        if letter is not None:
            waiting.append(letter)
            size += len(letter.raw.value or b"")
        if waiting and (letter is None or len(waiting) >= most or size >= BYTES_AT_ONCE):
            yield waiting
            waiting, size = [], 0

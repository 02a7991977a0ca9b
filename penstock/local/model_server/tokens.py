"""Tokens of a local model's answer and their log probabilities. Pure.

The tokeniser is an approximation of a real one's: runs of up to 12 letters (with the space or underscore before
them), up to three digits, single marks, runs of blanks. Joined, the tokens are the text exactly.

An answer is fixed text and choices. A model that must choose one of several strings writes it token by token: at each
token its probability goes to the strings that go on that way. So the tokens of a choice carry conditional probabilities
over a tree of shared beginnings, and their product is the probability of the string.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_TOKEN = re.compile(r"[ _]?[^\W\d_]{1,12}|\d{1,3}|\s+|[^\w\s]|_|\w")

FIXED_LOGPROB = -1e-5
"""Of tokens that the format dictates."""


def split_text(text: str) -> list[str]:
    """The text as tokens."""
    return _TOKEN.findall(text)


def count(text: str) -> int:
    """How many tokens a text is. Long texts are mostly prompts, which come again and are counted once."""
    return _count_once(text) if 500 < len(text) < 100_000 else len(_TOKEN.findall(text))


@lru_cache(maxsize=256)
def _count_once(text: str) -> int:
    return len(_TOKEN.findall(text))


@dataclass(frozen=True, slots=True)
class Token:
    """One token of an answer, and what else could have stood there: (text, log probability), likeliest first."""

    text: str
    logprob: float = FIXED_LOGPROB
    alternatives: tuple[tuple[str, float], ...] = ()


@dataclass(slots=True)
class _Node:
    """A run of options, in tree order, that begin alike."""

    starts: list[int] = field(default_factory=list)  # relative to the node's own first option
    tokens: list[str] = field(default_factory=list)
    children: list["_Node | None"] = field(default_factory=list)  # None: one option left, the rest of it is certain


class Tree:
    """Options as a tree of tokens in which no option is the beginning of another."""

    def __init__(self, options: Sequence[str]) -> None:
        """Raises ValueError if there is no option, an empty one, or the same one twice."""
        if not options or "" in options or len(set(options)) < len(options):
            raise ValueError(f"a choice needs different, non-empty options, not {list(options)!r:.200}")
        self.options = tuple(options)
        self.sequences = _prefix_free([split_text(option) for option in options])
        self._order = np.array(sorted(range(len(options)), key=self.sequences.__getitem__), np.intp)
        self._place = {int(option): place for place, option in enumerate(self._order)}
        self._root = self._grow(0, len(options), 0)

    def walk(self, chosen: int, probabilities: NDArray[np.float64]) -> Iterator[Token]:
        """The tokens of one option under these probabilities of all of them (in the options' order, each above 0)."""
        mass, place = probabilities[self._order], self._place[chosen]
        node: _Node | None = self._root
        for text in self.sequences[chosen]:
            if node is None:
                yield Token(text, 0.0, ((text, 0.0),))
                continue
            logs = np.log(np.add.reduceat(mass, node.starts) / mass.sum()).tolist()
            taken = node.tokens.index(text)
            ranked = sorted(zip(node.tokens, logs, strict=True), key=lambda pair: -pair[1])
            yield Token(text, logs[taken], tuple(ranked))
            first = node.starts[taken]
            after = node.starts[taken + 1] if taken + 1 < len(node.starts) else len(mass)
            mass, place, node = mass[first:after], place - first, node.children[taken]

    def _grow(self, first: int, after: int, depth: int) -> _Node:
        node = _Node()
        for place in range(first, after):
            token = self.sequences[self._order[place]][depth]
            if not node.tokens or node.tokens[-1] != token:
                node.tokens.append(token)
                node.starts.append(place - first)
        for start, end in zip(node.starts, [*node.starts[1:], after - first], strict=True):
            node.children.append(self._grow(first + start, first + end, depth + 1) if end - start > 1 else None)
        return node


def _prefix_free(sequences: list[list[str]]) -> list[tuple[str, ...]]:
    """Join tokens of longer options until none is the beginning of another ("pin", "pin_blocked": one token each)."""
    current = [tuple(sequence) for sequence in sequences]
    while True:
        clashes: dict[int, int] = {}
        base: tuple[str, ...] = ()
        for at in sorted(range(len(current)), key=current.__getitem__):
            if base and current[at][: len(base)] == base:
                clashes[at] = len(base)
            else:
                base = current[at]
        if not clashes:
            return current
        for at, size in clashes.items():
            sequence = current[at]
            current[at] = (*sequence[: size - 1], sequence[size - 1] + sequence[size], *sequence[size + 1 :])


@dataclass(frozen=True, slots=True)
class Fixed:
    """Text that the format dictates."""

    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """One of several strings, and how probable each was."""

    tree: Tree
    probabilities: NDArray[np.float64]
    chosen: int

    @property
    def text(self) -> str:
        """The string that was chosen."""
        return self.tree.options[self.chosen]


Part = Fixed | Choice


def write(parts: Iterable[Part], *, logprobs: bool) -> list[Token]:
    """The answer's tokens; without `logprobs` their probabilities are left out, which is quicker."""
    tokens: list[Token] = []
    for part in parts:
        match part:
            case Fixed(text):
                tokens += [Token(piece) for piece in split_text(text)]
            case Choice(tree, probabilities, chosen):
                if logprobs:
                    tokens += tree.walk(chosen, probabilities)
                else:
                    tokens += [Token(piece) for piece in tree.sequences[chosen]]
    return tokens


def probability(tokens: Iterable[Token]) -> float:
    """Of all these tokens together."""
    return math.exp(sum(token.logprob for token in tokens))

"""What the local models see in a text: words, word pairs, pieces of words. Pure; the same in training and serving."""

import re
from collections.abc import Callable
from itertools import pairwise

Features = Callable[[str], list[str]]

READ_LIMIT = 2_000
"""Characters of a text that a model reads: bounds the time one answer takes from the others."""

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


def words(text: str) -> list[str]:
    """Lower-case words; `_` and punctuation separate, so that label names read as words."""
    return _WORD.findall(text[:READ_LIMIT].lower())


def words_and_pieces(text: str) -> list[str]:
    """Words, neighbouring words, and the pieces of 2 to 5 characters of each word."""
    found = words(text)
    features = found + [f"{left} {right}" for left, right in pairwise(found)]
    for word in found:
        features += _pieces(f"<{word}>", 2, 5)
    return features


def reading(text: str) -> list[str]:
    """Words and their pieces of 4 characters: what texts and label descriptions are compared by."""
    found = words(text)
    features = list(found)
    for word in found:
        features += _pieces(f"<{word}>", 4, 4)
    return features


def _pieces(word: str, shortest: int, longest: int) -> list[str]:
    return [word[at : at + size] for size in range(shortest, longest + 1) for at in range(len(word) - size + 1)]

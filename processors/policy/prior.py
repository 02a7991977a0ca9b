"""The difficulty prior: what an input's words and shape promise that a larger model would add. Fitted beforehand, pure.

For every rung after the first a linear scale predicts the gain of asking that rung rather than the one before it: 1
where only the higher one is right, -1 where only the lower one is, 0 where they agree. A job starts at the first rung
whose successor promises too little. Every weight can be read in prior.json; `penstock train-router` writes it.
"""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import date
from itertools import repeat
from operator import mul
from typing import Annotated, Final

from pydantic import Field

from processors.settings import Finite, Probability
from processors.toml_text import Settings

READ_CHARS: Final = 2000
"""So much of an input is read: what lies behind it counts by its length only, so that a decision stays cheap."""
SHAPE: Final = ("length", "digits", "lines", "variety", "questions")
_TOKEN: Final = re.compile(r"[^\W\d_]+|\d")

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def tokens(text: str) -> list[str]:
    """The words and single digits of the part that is read, in lower case."""
    return _TOKEN.findall(text[:READ_CHARS].lower())


def shape(text: str, found: list[str], known: set[str]) -> tuple[float, ...]:
    """What an input looks like, in the order of SHAPE; `found` are its tokens, `known` these without repetition.

    The logarithms of its characters, digits and question marks, the root of its line ends, and the share of its tokens
    that are no repetition.
    """
    return (
        math.log1p(len(text)),
        math.log1p(sum(map(str.isdigit, found))),
        math.sqrt(text.count("\n") + text.count("\\n")),
        len(known) / (1 + len(found)),
        math.log1p(text.count("?")),
    )


def predicted(
    intercept: float, words: Mapping[str, float], weights: tuple[float, ...], known: set[str], looks: tuple[float, ...]
) -> float:
    """What a scale's parts predict for an input with these tokens and this shape."""
    of_words: float = math.fsum(map(words.get, known, repeat(0.0)))
    of_shape: float = sum(map(mul, weights, looks))
    return intercept + of_words + of_shape


class Measured(Settings):
    """What the gain of asking another rung was on answers that the fit did not see.

    `apgr` is the average share of the gain recovered as the share of jobs at the higher rung grows from none to all,
    which a random choice recovers to one half; `apgr_low` and `apgr_high` its 95 % interval; `length_apgr` the same for
    sending the longest inputs there. `jobs` is the share that starts at the higher rung, `recovered` what it recovers.
    """

    apgr: Finite
    apgr_low: Finite
    apgr_high: Finite
    length_apgr: Finite
    jobs: Probability
    recovered: Finite

    @property
    def worth_it(self) -> bool:
        """Whether the prior surely knows more than an input's length tells."""
        return self.apgr_low > self.length_apgr and self.apgr_low > 0.5


class Scale(Settings):
    """The predicted gain of one rung over the one before it, and from what gain on a job starts there."""

    variant: str
    intercept: Finite
    shape: Annotated[tuple[Finite, ...], Field(min_length=len(SHAPE), max_length=len(SHAPE))]
    words: dict[str, Finite]
    start_at: Finite
    held_out: Measured


class Prior(Settings):
    """prior.json: one scale for each rung after the first, and what they were fitted on.

    `variants` are the ladder's, with the sha256 of prompt, model and parameters: the prior serves no others.
    """

    variants: dict[str, Sha256]
    scales: tuple[Scale, ...]
    n: Annotated[int, Field(gt=0)]
    source: str
    fitted_on: date

    def gains(self, text: str) -> tuple[float, ...]:
        """The predicted gain of each rung after the first, for an input as JSON text."""
        found = tokens(text)
        known = set(found)
        looks = shape(text, found, known)
        return tuple(
            round(predicted(scale.intercept, scale.words, scale.shape, known, looks), 6) for scale in self.scales
        )

    def start(self, gains: tuple[float, ...]) -> int:
        """The rung to start at: as far up as each further rung promises enough."""
        rung = 0
        for scale, gain in zip(self.scales, gains, strict=True):
            if not scale.held_out.worth_it or gain < scale.start_at:
                break
            rung += 1
        return rung

    def misfits(self, variants: dict[str, str]) -> Iterator[str]:
        """Why the prior does not serve a ladder of these variants; nothing if it does."""
        if list(self.variants) != list(variants):
            yield f"it was fitted on the ladder {' → '.join(self.variants)}, and this is {' → '.join(variants)}"
            return
        if [scale.variant for scale in self.scales] != list(variants)[1:]:
            yield "it needs one scale for each variant after the first, in the ladder's order"
        for variant, fitted in self.variants.items():
            if fitted != variants[variant]:
                yield f"variant {variant} was fitted on another prompt, model or other parameters"

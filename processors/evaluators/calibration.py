"""Calibration: fitted maps from a raw score to the share of such answers that were right, each with its evidence."""

import bisect
import math
from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from processors.settings import Finite, Probability
from processors.toml_text import Settings

_EDGE = 1e-9


class Evidence(Settings):
    """What a map was fitted on and how far it can be trusted.

    `held_out_ece` is the expected calibration error over ten bins of equal width, on folds that the fit did not see;
    `lower_bound` the one-sided Clopper-Pearson bound on the accuracy of held-out answers at or above `accept_at`.
    """

    n: Annotated[int, Field(gt=0)]
    correct: Annotated[int, Field(ge=0)]
    source: str
    fitted_on: date
    held_out_ece: Probability
    accept_at: Probability
    accepted: Annotated[int, Field(ge=0)]
    accepted_correct: Annotated[int, Field(ge=0)]
    lower_bound: Probability
    bound_level: Probability = 0.95


class Map(Settings):
    """One fitted map, for one variant and the model that answered.

    `variant_sha256` names the prompt, model and parameters that it was fitted on: it serves no others. Platt: the
    logistic of `slope` times the log-odds plus `intercept`. Isotonic: the line through the points (`x`, `y`), flat
    beyond its ends.
    """

    variant: str
    model: str
    variant_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    method: Literal["platt", "isotonic"]
    slope: Finite | None = None
    intercept: Finite | None = None
    x: tuple[Probability, ...] = ()
    y: tuple[Probability, ...] = ()
    evidence: Evidence

    @model_validator(mode="after")
    def _complete(self) -> "Map":
        if self.method == "platt" and (self.slope is None or self.intercept is None or self.slope < 0):
            raise ValueError("a Platt map needs slope and intercept, and its slope is not negative")
        if self.method == "isotonic":
            rising = list(self.x) == sorted(set(self.x)) and list(self.y) == sorted(self.y)
            if not self.x or len(self.x) != len(self.y) or not rising:
                raise ValueError("an isotonic map needs as many y as x, x rising and y not falling")
        return self

    def __call__(self, raw: float) -> float:
        """The calibrated confidence of a raw score between 0 and 1."""
        return self._platt(raw) if self.method == "platt" else self._isotonic(raw)

    def _platt(self, raw: float) -> float:
        assert self.slope is not None
        assert self.intercept is not None
        return logistic(self.slope * log_odds(raw) + self.intercept)

    def _isotonic(self, raw: float) -> float:
        if raw <= self.x[0]:
            return self.y[0]
        if raw >= self.x[-1]:
            return self.y[-1]
        right = bisect.bisect_right(self.x, raw)
        left = right - 1
        share = (raw - self.x[left]) / (self.x[right] - self.x[left])
        return self.y[left] + share * (self.y[right] - self.y[left])

    @property
    def name(self) -> str:
        """What a gate decision says about the map it rests on."""
        return f"{self.method} n={self.evidence.n} {self.evidence.fitted_on.isoformat()}"


class Calibration(Settings):
    """calibration.json: the maps of a workflow."""

    maps: tuple[Map, ...] = ()

    def map_for(self, variant: str, model: str) -> Map | None:
        """The map for a variant and the model that answered, if one was fitted."""
        return next((fitted for fitted in self.maps if (fitted.variant, fitted.model) == (variant, model)), None)


def log_odds(probability: float) -> float:
    """The log-odds of a probability, kept finite at both ends."""
    bounded = min(max(probability, _EDGE), 1 - _EDGE)
    return math.log(bounded / (1 - bounded))


def logistic(value: float) -> float:
    """The inverse of the log-odds, without overflow."""
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    return math.exp(value) / (1 + math.exp(value))

"""Learned routing: fits a workflow's difficulty prior, and measures what it knows on answers that it has not seen.

What is learned is the gain of asking a rung rather than the one before it: a ridge regression on the words and the
shape of an input. How good an order that gives is measured as RouteLLM does (Ong et al. 2024, arXiv 2406.18665): the
share of the gain recovered as the share of jobs at the higher rung grows, averaged (APGR).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, train_test_split
from sklearn.preprocessing import StandardScaler

from penstock.errors import PenstockError
from penstock.rung_runs import Ran, RungRunner, run_all
from processors.cases import Case
from processors.catalog import Catalog
from processors.models import Models
from processors.policy.prior import Measured, Prior, Scale, predicted, shape, tokens
from processors.providers.port import Provider
from schemas.base import json_text
from schemas.control import Bundle
from schemas.stages import Status

MIN_OBSERVED: Final = 100
FOLDS: Final = 5
MIN_DF: Final = 3
"""Inputs that a word must occur in."""
MOST_WORDS: Final = 3000
ALPHAS: Final = (10.0, 30.0, 100.0, 300.0)
SHAPE_WEIGHT: Final = 0.3
"""How much larger than a word's one standard deviation of the shape is to the penalty."""
RESAMPLES: Final = 1000
PERCENTILES: Final = (2.5, 97.5)
KEPT: Final = frozenset({Status.ACCEPTED, Status.ACCEPTED_AFTER_REVIEW})
REFUSED: Final = frozenset({"escalated", Status.CORRECTED})
Floats = NDArray[np.float64]


class LearningError(PenstockError):
    """Nothing can be learned from these answers; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Observed:
    """An input as JSON text, and for each rung how right its answer was, from 0 to 1."""

    text: str
    right: tuple[float, ...]


async def observe(
    bundle: Bundle,
    cases: Sequence[Case],
    models: Models,
    providers: Mapping[str, Provider],
    moved: Callable[[], None],
    at_once: int = 32,
) -> tuple[Observed, ...]:
    """What every rung of a workflow makes of every case; `moved` is told of each that is through.

    Raises:
        WorkflowError: the bundle does not compile.
    """
    catalog = Catalog(models)
    catalog.add(bundle)
    workflow = catalog.workflow(bundle.workflow, bundle.version)
    assert workflow is not None, "it was added a moment ago"
    by_rung = [
        await run_all(RungRunner(catalog, providers, workflow, rung), cases, at_once, moved)
        for rung in range(len(workflow.settings.ladder))
    ]
    found = zip(cases, *by_rung, strict=True)
    return tuple(
        Observed(json_text(case.input), tuple(float(one.right) for one in ran if isinstance(one, Ran)))
        for case, *ran in found
        if all(isinstance(one, Ran) for one in ran)
    )


def on_record(rows: Sequence[tuple[str, int, str]], rungs: int) -> tuple[Observed, ...]:
    """What a ladder of so many rungs made of jobs that began at its foot: input, last rung and status of each.

    An answer that was kept was right at its rung, and would have been above; those below it were not. A job that no
    rung could answer says so of all of them; one that ended otherwise says nothing.
    """
    found = []
    for text, rung, status in rows:
        if status in KEPT and rung < rungs:
            found.append(Observed(text, (0.0,) * rung + (1.0,) * (rungs - rung)))
        elif status in REFUSED and rung == rungs - 1:
            found.append(Observed(text, (0.0,) * rungs))
    return tuple(found)


def train(
    observed: Sequence[Observed],
    variants: Mapping[str, str],
    *,
    recover: float,
    source: str,
    today: date,
) -> Prior:
    """The prior of a ladder.

    Args:
        observed: what each rung made of some inputs.
        variants: the ladder's variants in order, with the sha256 of what each consists of.
        recover: the share of what a higher rung adds that is to be kept, from 0 to 1.
        source: what the answers are, for the evidence.
        today: the date to put on the fit.

    Raises:
        LearningError: too few inputs, a ladder of one rung, or a rung that adds nothing.
    """
    if len(variants) < 2:
        raise LearningError("the ladder has one rung: there is nothing to choose; add [[ladder]] rungs")
    if len(observed) < MIN_OBSERVED:
        raise LearningError(f"{len(observed)} inputs were answered at every rung; {MIN_OBSERVED} are needed: add cases")
    texts = [one.text for one in observed]
    right = np.array([one.right for one in observed])
    scales = tuple(
        _scale(variant, texts, right[:, rung] - right[:, rung - 1], recover)
        for rung, variant in enumerate(variants)
        if rung > 0
    )
    return Prior(variants=dict(variants), scales=scales, n=len(observed), source=source, fitted_on=today)


def _scale(variant: str, texts: Sequence[str], gain: Floats, recover: float) -> Scale:
    if gain.sum() <= 0:
        raise LearningError(
            f"variant {variant} was right {gain.mean():+.1%} as often as the rung before it: it adds nothing here; "
            "take it off the ladder, or add cases that need it"
        )
    held_out = np.empty(len(texts))
    for train_at, test_at in KFold(FOLDS, shuffle=True, random_state=0).split(gain):
        fitted = fit([texts[i] for i in train_at], gain[train_at])
        held_out[test_at] = fitted([texts[i] for i in test_at])
    start_at, measured = _measured(held_out, texts, gain, recover)
    fitted = fit(texts, gain)
    return Scale(variant=variant, start_at=start_at, held_out=measured, **fitted.weights())


def _measured(held_out: Floats, texts: Sequence[str], gain: Floats, recover: float) -> tuple[float, Measured]:
    """From what gain on a job starts at the higher rung, and what the prior is worth."""
    low, high = interval(held_out, gain)
    curve = recovered(held_out, gain)
    jobs = int(np.argmax(curve >= recover))
    order = np.sort(held_out)[::-1]
    return round(float(order[max(jobs, 1) - 1]), 6), Measured(
        apgr=round(apgr(held_out, gain), 4),
        apgr_low=round(low, 4),
        apgr_high=round(high, 4),
        length_apgr=round(apgr(lengths(texts), gain), 4),
        jobs=round(jobs / len(gain), 4),
        recovered=round(float(curve[jobs]), 4),
    )


@dataclass(frozen=True)
class Fitted:
    """A scale by its parts; called with texts it predicts their gains."""

    words: Mapping[str, float]
    shape: tuple[float, ...]
    intercept: float

    def weights(self) -> dict[str, Any]:
        """As the fields of a Scale."""
        return {"words": dict(self.words), "shape": self.shape, "intercept": self.intercept}

    def __call__(self, texts: Sequence[str]) -> Floats:
        """The predicted gain of each text."""
        return np.array([self._gain(text) for text in texts])

    def _gain(self, text: str) -> float:
        found = tokens(text)
        known = set(found)
        return predicted(self.intercept, self.words, self.shape, known, shape(text, found, known))


def fit(texts: Sequence[str], gain: Floats) -> Fitted:
    """The ridge regression of the gains on words and shape, with the penalty that predicts a held-out fifth best."""
    words = CountVectorizer(analyzer=tokens, min_df=MIN_DF, max_features=MOST_WORDS, binary=True)
    scaler = StandardScaler()
    looks = scaler.fit_transform([_shape(text) for text in texts]) * SHAPE_WEIGHT
    features = hstack([words.fit_transform(texts), csr_matrix(looks)]).toarray()
    train_at, test_at = train_test_split(np.arange(len(gain)), test_size=0.2, random_state=0)

    def error(alpha: float) -> float:
        model = Ridge(alpha=alpha).fit(features[train_at], gain[train_at])
        return float(np.square(model.predict(features[test_at]) - gain[test_at]).mean())

    model = Ridge(alpha=min(ALPHAS, key=error)).fit(features, gain)
    names = words.get_feature_names_out()
    of_shape = model.coef_[len(names) :] * SHAPE_WEIGHT / scaler.scale_
    return Fitted(
        words={name: round(float(weight), 5) for name, weight in zip(names, model.coef_, strict=False) if weight},
        shape=tuple(round(float(weight), 6) for weight in of_shape),
        intercept=round(float(model.intercept_ - of_shape @ scaler.mean_), 6),
    )


def _shape(text: str) -> tuple[float, ...]:
    found = tokens(text)
    return shape(text, found, set(found))


def lengths(texts: Sequence[str]) -> Floats:
    """Each input's characters."""
    return np.array([float(len(text)) for text in texts])


def recovered(score: Floats, gain: Floats) -> Floats:
    """The share of the whole gain when none, one, … and all inputs, those of the highest score first, go up."""
    ordered = gain[np.argsort(-score, kind="stable")]
    curve: Floats = np.concatenate([[0.0], np.cumsum(ordered)]) / gain.sum()
    return curve


def apgr(score: Floats, gain: Floats) -> float:
    """The average share of the gain recovered over all shares of inputs that go up; a random order has one half."""
    curve = recovered(score, gain)
    return float(np.trapezoid(curve, dx=1 / len(gain)))


def interval(
    score: Floats, gain: Floats, statistic: Callable[[Floats, Floats], float] = apgr, seed: int = 0
) -> tuple[float, float]:
    """The 95 % percentile interval of a statistic over 1,000 resamples of the inputs."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(RESAMPLES):
        at = draw.integers(0, len(gain), len(gain))
        if gain[at].sum() > 0:
            found.append(statistic(score[at], gain[at]))
    low, high = np.percentile(found, PERCENTILES)
    return float(low), float(high)

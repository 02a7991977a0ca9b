"""Fits a workflow's calibration: runs labelled cases through the real processors and learns what a raw score is worth.

Each rung is fitted on the cases that reach it: those that the gate, on scores which the fit did not see, let climb from
the rungs below. A rung sees the hard ones only, and a map fitted on all of them would promise too much.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from penstock.rung_runs import Ran, RungRunner, run_all
from processors.bundle import read_bundle
from processors.cases import Case
from processors.catalog import Catalog
from processors.evaluators.calibration import Calibration, Evidence, Map, log_odds
from processors.models import Models
from processors.policy.gate import Passage, rule
from processors.providers.port import Provider
from processors.workflow import Workflow

ISOTONIC_FROM = 500
"""Answers from which the isotonic fit is used; Platt's needs fewer."""
MIN_ANSWERS = 30
FOLDS = 5
BINS = 10
BOUND_LEVEL = 0.95
Floats = NDArray[np.float64]


class CalibrationError(Exception):
    """The cases can't be used to fit a calibration; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One case's answer at one rung: the model that answered, its raw score, and whether the answer was right."""

    case: Case
    model: str
    raw: float
    right: bool


async def calibrate(
    folder: Path,
    cases: Sequence[Case],
    models: Models,
    providers: Mapping[str, Provider],
    *,
    source: str,
    today: date,
    at_once: int = 32,
) -> Calibration:
    """The calibration of the workflow in this folder, fitted on these cases.

    Args:
        folder: the workflow's folder; its present calibration.json plays no part.
        cases: labelled cases that no prompt and no model was made with.
        models: the project's models.
        providers: where they answer, by provider name.
        source: what the cases are, for the evidence.
        today: the date to put on the fit.
        at_once: calls in flight.

    Raises:
        CalibrationError: too few cases were answered, or all of them right or wrong.
        WorkflowError: the folder does not compile.
    """
    bundle = read_bundle(folder)
    catalog = Catalog(models)
    catalog.add(bundle)
    workflow = catalog.workflow(bundle.workflow, bundle.version)
    assert workflow is not None
    maps: list[Map] = []
    waiting = list(cases)
    for rung, settings in enumerate(workflow.settings.ladder):
        runner = RungRunner(catalog, providers, workflow, rung)
        scored = await _scored(runner, settings.variant, waiting, at_once)
        fitted, held_out = fit(scored, workflow, rung, source=source, today=today)
        maps.append(fitted)
        waiting = _climbing(scored, held_out, workflow)
    return Calibration(maps=tuple(maps))


async def _scored(runner: RungRunner, variant: str, cases: Sequence[Case], at_once: int) -> list[Scored]:
    found = await run_all(runner, cases, at_once)
    ran = [one for one in found if isinstance(one, Ran)]
    scored = [Scored(one.case, one.model, one.raw, one.right) for one in ran if one.raw is not None]
    unscored = [one if isinstance(one, str) else one.unscored for one in found if isinstance(one, str) or one.unscored]
    if len(scored) < MIN_ANSWERS or len(unscored) > len(scored):
        why = f"; the first of the others: {unscored[0]}" if unscored else ""
        said = f"variant {variant}: {len(scored)} of the {len(cases)} cases that reach it have a score"
        raise CalibrationError(f"{said}, {MIN_ANSWERS} are needed: add cases{why}")
    answering = {answer.model for answer in scored}
    if len(answering) > 1:
        raise CalibrationError(f"variant {variant}: several models answered ({', '.join(sorted(answering))}): pin one")
    return scored


def fit(scored: Sequence[Scored], workflow: Workflow, rung: int, *, source: str, today: date) -> tuple[Map, Floats]:
    """The map for one rung with its evidence, and each answer's confidence by maps that were fitted without it.

    Raises:
        CalibrationError: all answers are right, or all are wrong.
    """
    variant = workflow.settings.ladder[rung].variant
    raw = np.array([answer.raw for answer in scored])
    right = np.array([answer.right for answer in scored])
    if right.all() or not right.any():
        found = f"variant {variant}: all {len(scored)} answers are {'right' if right.all() else 'wrong'}"
        raise CalibrationError(f"{found}: nothing can be learned from them; add harder or easier cases")
    held_out = np.empty(len(raw))
    for train, test in KFold(FOLDS, shuffle=True, random_state=0).split(raw):
        held_out[test] = _applied(_curve(raw[train], right[train]), raw[test])
    accept_at = workflow.settings.gate.accept_at
    accepted = held_out >= accept_at
    evidence = Evidence(
        n=len(raw),
        correct=int(right.sum()),
        source=source,
        fitted_on=today,
        held_out_ece=round(expected_calibration_error(held_out, right), 4),
        accept_at=accept_at,
        accepted=int(accepted.sum()),
        accepted_correct=int(right[accepted].sum()),
        lower_bound=round(lower_bound(int(right[accepted].sum()), int(accepted.sum())), 4),
        bound_level=BOUND_LEVEL,
    )
    method, curve = _curve(raw, right)
    fitted = Map(
        variant=variant,
        model=scored[0].model,
        variant_sha256=workflow.variant_hashes[variant],
        method=method,
        **curve,
        evidence=evidence,
    )
    return fitted, held_out


Curve = tuple[Literal["platt", "isotonic"], dict[str, Any]]


def _curve(raw: Floats, right: NDArray[np.bool_]) -> Curve:
    """The fitted curve: Platt's on few answers, isotonic on many. Neither promises more than the answers can show."""
    if len(raw) < ISOTONIC_FROM:
        model = LogisticRegression(C=1e6).fit(_odds(raw).reshape(-1, 1), right)
        slope, intercept = max(float(model.coef_[0][0]), 0.0), float(model.intercept_[0])
        return "platt", {"slope": round(slope, 6), "intercept": round(intercept, 6)}
    edge = 1 / (len(raw) + 2)
    model = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip").fit(raw, right)
    points: dict[float, float] = {}
    for x, y in zip(model.X_thresholds_, model.y_thresholds_, strict=True):
        points[round(float(x), 6)] = round(float(y), 6)
    return "isotonic", {"x": tuple(points), "y": tuple(points.values())}


def _applied(curve: Curve, raw: Floats) -> Floats:
    method, values = curve
    if method == "isotonic":
        return np.interp(raw, values["x"], values["y"])
    applied: Floats = 1 / (1 + np.exp(-(values["slope"] * _odds(raw) + values["intercept"])))
    return applied


def _odds(raw: Floats) -> Floats:
    return np.array([log_odds(float(value)) for value in raw])


def _climbing(scored: Sequence[Scored], held_out: Floats, workflow: Workflow) -> list[Case]:
    """The cases that the gate lets climb."""
    gate = workflow.settings.gate
    rulings = [rule(gate, float(confidence), higher=True) for confidence in held_out]
    return [answer.case for answer, ruling in zip(scored, rulings, strict=True) if ruling.passage is Passage.CLIMB]


def expected_calibration_error(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """The mean distance between confidence and accuracy over ten bins of equal width, weighted by their answers."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [(bins == b).sum() * abs(confidence[bins == b].mean() - right[bins == b].mean()) for b in np.unique(bins)]
    return float(sum(gaps) / len(confidence))


def lower_bound(right: int, n: int, level: float = BOUND_LEVEL) -> float:
    """The one-sided Clopper-Pearson bound: accuracy is at least this, at this level; 0 when nothing was right."""
    return float(beta.ppf(1 - level, right, n - right + 1)) if right else 0.0

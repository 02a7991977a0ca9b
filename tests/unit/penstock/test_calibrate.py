import asyncio
import random
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from penstock.calibrate import (
    CalibrationError,
    calibrate,
    expected_calibration_error,
    lower_bound,
)
from processors.cases import Case
from processors.models import read_models
from processors.problems import WorkflowError
from processors.providers.scripted import ScriptedProvider, answer
from processors.workflow import compile_workflow
from schemas.control import Bundle

MODELS = """
[providers.p]
base_url = "http://127.0.0.1:1/v1"
[models.weak]
provider = "p"
id = "weak-1"
tier = "A"
capabilities = ["logprobs"]
[models.strong]
provider = "p"
id = "strong-1"
tier = "C"
capabilities = ["logprobs"]
"""
FILES = {
    "workflow.toml": """
task = "classify"
owner = "someone"
[[ladder]]
variant = "small"
tier = "A"
model = "weak"
[[ladder]]
variant = "large"
tier = "C"
model = "strong"
""",
    "prompts/small/user.md": "{{ input.text }}",
    "prompts/large/user.md": "{{ input.text }}",
    "output.schema.json": '{"enum": ["a", "b"]}',
}
TODAY = date(2026, 11, 21)


@pytest.fixture
def folder(tmp_path):
    """The folder of a workflow with two rungs."""
    for name, text in FILES.items():
        path = tmp_path / "sorting" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "sorting"


def _cases(n):
    return [Case(str(i), {"text": f"message {i}"}, '"a"') for i in range(n)]


def _overconfident(request):
    """A model that is right with the square of the probability it claims."""
    chance = random.Random(f"{request.model.id} {request.messages[-1].content}")
    claimed = chance.uniform(0.3, 0.999)
    word = "a" if chance.random() < claimed**2 else "b"
    return answer(f'"{word}"', model=request.model.id, probability=claimed)


def _fit(folder: Path, n: int, script=_overconfident):
    models = read_models("models.toml", MODELS, {}, {})
    provider = ScriptedProvider(script)
    fitted = asyncio.run(calibrate(folder, _cases(n), models, {"p": provider}, source="made up", today=TODAY))
    return fitted, provider


def test_overconfidence_is_corrected_and_the_evidence_says_how_well(folder):
    """With many cases the isotonic map comes close to the true curve; the bound lies below what was measured."""
    calibration, _ = _fit(folder, 2000)
    small = calibration.maps[0]
    assert small.method == "isotonic"
    for raw in (0.5, 0.7, 0.9):
        assert small(raw) == pytest.approx(raw**2, abs=0.1)
    evidence = small.evidence
    assert evidence.n == 2000
    assert evidence.held_out_ece < 0.05
    assert 0.75 < evidence.lower_bound < evidence.accepted_correct / evidence.accepted
    assert evidence.fitted_on == TODAY


def test_few_cases_are_fitted_by_platt(folder):
    """Below 500 answers the curve has two parameters."""
    calibration, _ = _fit(folder, 300)
    assert [fitted.method for fitted in calibration.maps] == ["platt", "platt"]
    assert calibration.maps[0](0.5) < calibration.maps[0](0.9) < 0.95


def test_a_rung_is_fitted_on_the_cases_that_reach_it(folder):
    """The strong model is asked about nothing that the weak one is sure enough of."""
    calibration, provider = _fit(folder, 600)
    small, large = calibration.maps
    assert large.evidence.n == small.evidence.n - small.evidence.accepted
    assert sum(request.model.id == "strong-1" for request in provider.requests) == large.evidence.n


def test_the_fit_serves_the_version_it_was_made_for(folder):
    """The file that is written makes the workflow's confidence known."""
    calibration, _ = _fit(folder, 300)
    files = FILES | {"calibration.json": calibration.model_dump_json()}
    workflow = compile_workflow(Bundle(workflow="sorting", files=files))
    assert workflow.map_for("small", "weak-1") == calibration.maps[0]
    assert workflow.map_for("large", "strong-1") == calibration.maps[1]


def test_the_same_cases_give_the_same_calibration(folder):
    """Nothing in the fit is left to chance."""
    assert _fit(folder, 200)[0] == _fit(folder, 200)[0]


@pytest.mark.parametrize(
    ("n", "script", "said"),
    [
        (20, _overconfident, "20 of the 20 cases that reach it have a score, 30 are needed"),
        (100, lambda _: answer("nonsense"), "the first of the others: check structure: deny"),
        (100, lambda _: answer('"a"', model="x"), "all 100 answers are right"),
        (100, lambda _: answer('"b"', model="x"), "all 100 answers are wrong"),
        (100, lambda request: answer('"a"', model=request.messages[-1].content[-1]), "several models answered"),
    ],
)
def test_cases_that_teach_nothing_are_refused(folder, n, script, said):
    """Too few, unreadable, all alike, or from a model that changes: the message says so."""
    with pytest.raises(CalibrationError, match=said):
        _fit(folder, n, script)


def test_a_workflow_that_does_not_compile_is_refused(folder):
    """The problem is the workflow's, and is said as such."""
    (folder / "workflow.toml").write_text("task =")
    with pytest.raises(WorkflowError, match="this is not TOML"):
        _fit(folder, 100)


def test_the_clopper_pearson_bound():
    """Known values: 20 of 20 gives 0.05 to the 1/20, none gives 0."""
    assert lower_bound(20, 20) == pytest.approx(0.05 ** (1 / 20))
    assert lower_bound(0, 20) == 0.0
    assert lower_bound(0, 0) == 0.0


def test_the_expected_calibration_error():
    """Two bins: one exact, one off by 0.3, weighted by their answers."""
    confidence = np.array([0.5, 0.5, 0.7, 0.7])
    right = np.array([True, False, True, True])
    assert expected_calibration_error(confidence, right) == pytest.approx(0.15)

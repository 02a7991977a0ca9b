"""What each failure means at each stage, closed and open: docs/failure_modes.md has the table, which is read here."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from penstock.trial import Trials, in_force
from processors.bundle import read_bundle
from processors.catalog import Catalog
from processors.control import ControlState
from processors.lint import lint
from processors.models import load_models
from processors.providers.scripted import Canned, ScriptedProvider, answer
from schemas.control import SwitchKind

DOCS = Path(__file__).parents[3] / "docs" / "failure_modes.md"
FALLBACK = '\n[fallback]\noutput = { intent = "b" }\n'
MODES = {
    "fraud-like": FALLBACK,
    "pricing-like": FALLBACK + '\n[failure]\naccept_unverified = ["confidence", "schema"]\n',
}
GOOD = answer('{"intent": "a"}')


def kill(*switches):
    return ControlState(kills=frozenset(switches))


FAILURES = {
    "every provider is down": (Canned(status=401), ControlState(), {}),
    "every provider is killed": (GOOD, kill((SwitchKind.PROVIDER, "one"), (SwitchKind.PROVIDER, "two")), {}),
    "a routing rule can't be decided": (GOOD, ControlState(), {"rule": True}),
    "a check is killed or breaks": (GOOD, kill((SwitchKind.CHECK, "schema")), {}),
    "the structure can't be checked": (GOOD, kill((SwitchKind.CHECK, "structure")), {}),
    "the grade is unknown": (GOOD, ControlState(), {}),
    "a check denies the answer": (answer('{"intent": "z"}'), ControlState(), {}),
    "the model refuses": (answer("", finish_reason="content_filter"), ControlState(), {}),
    "the snapshot is stale": (GOOD, ControlState(), {"stale": True}),
}
RULE = '\n[[routing.rules]]\nname = "careless"\nwhen = \'segments.category == "x"\'\nstart = "C"\n'


@pytest.fixture
def ended(desk, clock):
    """Give a function that runs a job through all stages under a failure; returns the status it ends with."""

    async def run(mode, failure):
        canned, control, told = FAILURES[failure]
        text = desk.settings_text.replace('owner = "someone"', f'owner = "someone"\nfailure_mode = "{mode}"')
        like = "pricing-like" if mode == "open" else "fraud-like"
        workflow = desk.with_files(**{"workflow.toml": text + MODES[like] + (RULE if told.get("rule") else "")})
        state = ControlState(active=in_force(workflow).active, kills=control.kills)
        provider = ScriptedProvider(lambda _: canned)
        trials = Trials(desk.catalog, {"one": provider, "two": provider}, state, clock)
        fields = {"workflow": "sorting", "input": {"text": "x"}, "deadline_ms": 5_000}
        if told.get("stale"):
            fields["context"] = snapshot(clock)
        trial = await trials.run(fields)
        if trial.status in {"accepted_unverified", "fallback_answer"}:
            assert "fails open" in trial.reason
            assert trial.output is not None
        return trial.status

    return run


def snapshot(clock):
    return {
        "id": "prices",
        "version": "1",
        "taken_at": (clock.now - timedelta(hours=2)).isoformat(),
        "valid_until": (clock.now - timedelta(hours=1)).isoformat(),
        "sha256": "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945",
        "chunks": [],
    }


def table():
    """The rows of the page: failure, and the status in closed and open mode."""
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| `(\w+)` \| `(\w+)` \|$", DOCS.read_text(), re.MULTILINE)
    return {failure.strip(): (closed, opened) for failure, closed, opened in rows}


def test_the_page_has_a_row_for_each_failure():
    """No failure is missing, and none is made up."""
    assert table().keys() == FAILURES.keys()


@pytest.mark.parametrize("failure", FAILURES)
async def test_each_failure_ends_as_the_page_says(ended, failure):
    """Both modes, through the real processors: nothing else differs between the two workflows."""
    assert (await ended("closed", failure), await ended("open", failure)) == table()[failure]


EXAMPLES = DOCS.parent / "examples" / "failure_modes"


def test_the_two_examples_differ_in_nothing_but_their_failure_mode():
    """What docs/failure_modes.md speaks of can be looked at, and tried."""
    fraud, price = (read_bundle(EXAMPLES / "workflows" / name).files for name in ("fraud_screen", "price_screen"))
    assert fraud | {"workflow.toml": ""} == price | {"workflow.toml": ""}
    assert fraud["workflow.toml"].replace('"closed"', '"open"') == price["workflow.toml"]


@pytest.mark.parametrize(
    ("down", "name", "status"),
    [
        (False, "fraud_screen", "escalated"),
        (False, "price_screen", "accepted_unverified"),
        (True, "fraud_screen", "escalated"),
        (True, "price_screen", "fallback_answer"),
    ],
)
async def test_the_examples_end_as_the_page_says(down, name, status):
    """No grade, as there is no calibration, and no provider: a person in one, an answer that says so in the other."""
    bundle = read_bundle(EXAMPLES / "workflows" / name)
    catalog = Catalog(load_models(EXAMPLES / "models.toml", environ={}))
    catalog.add(bundle)
    canned = Canned(status=401) if down else answer('{"order": "unusual"}')
    state = in_force(catalog.workflow(name, bundle.version))
    trials = Trials(catalog, {"local": ScriptedProvider(lambda _: canned)}, state)
    trial = await trials.run({"workflow": name, "input": {"text": "forty phones"}})
    assert trial.status == status


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('failure_mode = "open"', "would fail open, and there is no answer to give"),
        ('risk = "high"', "a workflow of high risk has no [fallback]"),
    ],
)
def test_an_open_or_risky_workflow_needs_a_fallback(folder, files, models, more, said):
    """What would have nothing to say is no release."""
    files["workflow.toml"] = files["workflow.toml"].replace('owner = "someone"', f'owner = "someone"\n{more}')
    assert any(said in problem.found for problem in lint(folder(files), models))


def test_a_fallback_must_be_an_answer(folder, files, models):
    """It is held against the output schema, with its line."""
    files["workflow.toml"] += '\n[fallback]\noutput = { intent = "z" }\n'
    (found,) = (problem for problem in lint(folder(files), models) if problem.field == "fallback.output")
    assert "/intent" in found.found
    assert files["workflow.toml"].splitlines()[found.line - 1].startswith("output")


def test_a_class_may_have_a_mode_of_its_own(folder, files, models):
    """Closed for grades, open for providers: the class wins over the workflow."""
    files["workflow.toml"] += '\n[failure]\nprovider = "open"\n'
    assert any("provider would fail open" in problem.found for problem in lint(folder(files), models))

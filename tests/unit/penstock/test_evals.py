import asyncio
import json
from decimal import Decimal
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from penstock.evals import CasesUnusable, Share, evaluate, figures, read_cases
from penstock.trial import Trials, in_force
from processors.bundle import read_bundle
from processors.catalog import Catalog
from processors.models import load_models
from processors.providers.scripted import Canned, ScriptedProvider, answer


@pytest.fixture
def owner(tmp_path):
    """The smallest workflow, a provider that answers from a script, and cases."""
    (tmp_path / "sorting" / "prompts" / "only").mkdir(parents=True)
    (tmp_path / "sorting" / "workflow.toml").write_text(WORKFLOW)
    (tmp_path / "sorting" / "prompts" / "only" / "user.md").write_text("{{ input.text }}")
    (tmp_path / "sorting" / "output.schema.json").write_text('{"enum": ["yes", "no"]}')
    (tmp_path / "models.toml").write_text(MODELS)
    models = load_models(tmp_path / "models.toml", environ={})
    catalog = Catalog(models)
    bundle = read_bundle(tmp_path / "sorting")
    catalog.add(bundle)
    workflow = catalog.workflow("sorting", bundle.version)

    def trials(script):
        return Trials(catalog, {"one": ScriptedProvider(script)}, in_force(workflow))

    return SimpleNamespace(trials=trials, folder=tmp_path)


WORKFLOW = """
task = "classify"
owner = "someone"

[[ladder]]
variant = "only"
tier = "A"
model = "tiny"

[[ladder]]
variant = "better"
tier = "B"
model = "big"
prompt = "only"
"""

MODELS = """
[providers.one]
base_url = "http://127.0.0.1:1/v1"

[models.tiny]
provider = "one"
id = "tiny-1"
tier = "A"
prices = { input_usd = 1, output_usd = 10 }

[models.big]
provider = "one"
id = "big-1"
tier = "B"
prices = { input_usd = 10, output_usd = 100 }
"""


def cases(path, *lines):
    (path / "cases.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    return read_cases(path / "cases.jsonl")


async def test_a_trial_goes_the_way_of_the_pipeline(owner):
    """Without a calibration an answer is not trusted: it climbs, and from the last rung a person decides."""
    trial = await owner.trials(lambda _: answer('"yes"')).run({"workflow": "sorting", "input": {"text": "well?"}})
    assert [(step.stage, step.rung) for step in trial.steps] == [
        ("intake", 0),
        *((stage, rung) for rung in (0, 1) for stage in ("routing", "inference", "validation", "grading")),
    ]
    assert (trial.status, trial.proposed, trial.output) == ("escalated", '"yes"', None)
    assert trial.cost_usd == Decimal("0.0002") + Decimal("0.002")
    assert [step.stage for step in trial.head.steps] == [step.stage for step in trial.steps]


async def test_what_must_wait_long_is_not_waited_for(owner):
    """A provider that asks for a minute's patience ends the trial as waiting, with the reason."""
    busy = Canned(status=429, headers={"retry-after": "60"})
    trial = await owner.trials(lambda _: busy).run({"workflow": "sorting", "input": {"text": "well?"}})
    assert trial.status in {"waiting", "escalated"}
    assert trial.output is None
    assert "429" in str([attempt.http_status for attempt in trial.attempts])


async def test_a_bad_job_ends_as_rejected(owner):
    """What a producer may get wrong is answered here as there."""
    trial = await owner.trials(lambda _: answer("1")).run({"workflow": "nobody", "input": 1})
    assert trial.status == "rejected"
    assert "nobody" in trial.reason


async def test_the_money_is_a_ceiling(owner):
    """Once it is spent no further case begins, and those that did not run are counted."""
    wanted = cases(owner.folder, *({"id": str(n), "input": {"text": "x"}, "expected": "yes"} for n in range(20)))
    trials = owner.trials(lambda _: answer('"yes"'))
    ceiling = Decimal("0.01")
    done = await evaluate(trials, "sorting", wanted, at_once=2, ceiling_usd=ceiling, moved=lambda _: None)
    assert done.skipped
    assert len(done.judged) + done.skipped == 20
    assert ceiling <= done.spent_usd <= ceiling + 2 * Decimal("0.0022")


async def test_figures_add_up(owner):
    """Accepted, escalated and others are all cases; groups by rung partition them."""
    wanted = cases(owner.folder, *({"id": str(n), "input": {"text": "x"}, "expected": "yes"} for n in range(6)))
    trials = owner.trials(lambda request: answer('"yes"' if request.model.id == "big-1" else "what?"))
    moves = []
    done = await evaluate(trials, "sorting", wanted, at_once=3, ceiling_usd=None, moved=lambda _: moves.append(1))
    whole = figures(done.judged)
    assert len(moves) == whole.cases == 6
    assert whole.escalated.count == 6
    assert {name: found.cases for name, found in done.by_rung().items()} == {"1": 6}
    assert done.by_segment()["length_bucket=short"].cases == 6
    assert whole.right.value is None
    assert (whole.answers_right.count, whole.answers_right.of) == (6, 6)
    assert whole.cost_usd == sum(one.trial.cost_usd for one in done.judged)


def test_a_case_is_met_by_equality_or_by_a_schema(tmp_path):
    """Both must hold where both are given; null may be expected."""
    equal, fits, both, null = cases(
        tmp_path,
        {"id": "a", "input": 1, "expected": {"b": 1, "a": 2}},
        {"id": "b", "input": 1, "must": {"minLength": 3}},
        {"id": "c", "input": 1, "expected": "abc", "must": {"minLength": 4}},
        {"id": "d", "input": 1, "expected": None},
    )
    assert equal.met('{"a":2,"b":1}')
    assert not equal.met('{"a":2}')
    assert [fits.met('"ab"'), fits.met('"abc"'), both.met('"abc"'), null.met("null"), null.met("0")] == [
        False,
        True,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("line", ["{", "[]", '{"id": "a", "input": 1}', '{"input": 1, "expected": 1}'])
def test_what_is_no_case_is_named_by_its_line(tmp_path, line):
    """The file and the line are in the text, and what was expected."""
    (tmp_path / "cases.jsonl").write_text('{"id": "a", "input": 1, "expected": 1}\n' + line)
    with pytest.raises(CasesUnusable, match=r"cases\.jsonl:2: this is no case .*; write one"):
        read_cases(tmp_path / "cases.jsonl")


def test_a_file_without_cases_is_refused(tmp_path):
    """An eval of nothing would always pass."""
    (tmp_path / "cases.jsonl").write_text("\n")
    with pytest.raises(CasesUnusable, match="has no cases"):
        read_cases(tmp_path / "cases.jsonl")
    with pytest.raises(CasesUnusable, match="name a file with --cases"):
        read_cases(tmp_path / "nothing.jsonl")


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_wilson_s(counts):
    """As scipy computes it, for every count."""
    count, of = counts
    theirs = binomtest(count, of).proportion_ci(0.95, method="wilson")
    assert Share(count, of).interval == pytest.approx((theirs.low, theirs.high), abs=1e-6)


def test_nothing_has_no_share():
    """Unknown is not zero."""
    assert Share(0, 0).value is None
    assert Share(0, 0).interval is None


def test_trials_run_beside_each_other(owner):
    """A hundred at once share one event loop."""
    slow = answer('"yes"')
    trials = owner.trials(lambda _: Canned(slow.body, after_s=0.2))

    async def many():
        jobs = ({"workflow": "sorting", "input": {"text": str(n)}} for n in range(100))
        async with asyncio.timeout(15):
            return await asyncio.gather(*map(trials.run, jobs))

    assert {trial.status for trial in asyncio.run(many())} == {"escalated"}


async def test_a_retry_that_would_come_after_the_deadline_ends_a_trial_as_expired(owner):
    """A trial waits no longer than its job may take: it ends as expired, with the provider's reason."""
    busy = Canned(b'{"error": {"message": "slow down"}}', 429, {"retry-after": "9"})

    trial = await owner.trials(lambda _: busy).run({"workflow": "sorting", "input": {"text": "a"}, "deadline_ms": 3000})

    assert trial.status == "expired"
    assert "before the deadline" in trial.reason
    assert trial.attempts[-1].error_class == "wait_until"


async def test_a_bug_in_a_stage_ends_a_trial_as_failed(owner, monkeypatch):
    """What the pipeline would put among the dead letters is a failed trial that names the stage, no traceback."""
    monkeypatch.setattr("processors.validation.Validation.__call__", _broken)

    trial = await owner.trials(lambda _: answer('"yes"')).run({"workflow": "sorting", "input": {"text": "a"}})

    assert trial.status == "failed"
    assert "ZeroDivisionError in validation" in trial.reason


async def _broken(self, envelope):
    return 1 / 0

import json
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.control import ControlState
from processors.policy.prior import SHAPE, Measured, Prior, Scale, shape, tokens
from processors.policy.request import RouteRequest
from processors.policy.route import route
from processors.workflow import examine
from schemas.control import Bundle
from schemas.job import Risk, TaskType
from schemas.stages import Tier

KNOWS = Measured(apgr=0.7, apgr_low=0.65, apgr_high=0.75, length_apgr=0.6, jobs=0.3, recovered=0.8)
GUESSES = KNOWS.model_copy(update={"apgr_low": 0.59})


def prior(workflow, **words):
    """A prior in which these words, and nothing else, promise a gain: at `mid` as given, at `large` half of it."""
    scales = tuple(
        Scale(
            variant=variant,
            intercept=0,
            shape=(0,) * len(SHAPE),
            words={word: gain * share for word, gain in words.items()},
            start_at=0.2,
            held_out=KNOWS,
        )
        for variant, share in (("mid", 1.0), ("large", 0.5))
    )
    hashes = dict(workflow.variant_hashes)
    return Prior(variants=hashes, scales=scales, n=500, source="made up", fitted_on=date(2026, 11, 21))


@pytest.fixture
def choose(desk):
    """Give a function that routes a text through a workflow with a prior."""

    def run(text, known, control=None, **changes):
        workflow = replace(desk.workflow, prior=known)
        fields = {"task": TaskType.QA, "risk": Risk.NORMAL, "size": 20, "gains": known.gains(text)} | changes
        return route(RouteRequest(**fields), workflow, desk.models, control or ControlState())

    return run


@pytest.mark.parametrize(
    ("text", "variant"),
    [("say hello", "small"), ("prove it", "mid"), ("PROVE the lemma", "large"), ("prove prove prove", "mid")],
)
def test_a_job_starts_as_far_up_as_each_further_rung_promises_enough(desk, choose, text, variant):
    """Words count once, in any case; the default policy, which would start a question at tier B, is not asked."""
    choice = choose(text, prior(desk.workflow, prove=0.3, lemma=0.2))
    assert choice.decision.variant == variant
    assert choice.decision.reasons[0].startswith(f"the difficulty prior starts at {variant}: expected gain ")


def test_high_risk_and_a_rule_come_before_the_prior(desk, choose):
    """What is dear is not left to words."""
    known = prior(desk.workflow)
    assert choose("say hello", known, risk=Risk.HIGH).decision.variant == "large"


def test_a_scale_that_knows_no_more_than_length_is_not_used(desk, choose):
    """Where the lower bound does not beat length, the ladder starts at its foot."""
    known = prior(desk.workflow, prove=1.0)
    guessing = known.model_copy(
        update={"scales": tuple(scale.model_copy(update={"held_out": GUESSES}) for scale in known.scales)}
    )
    assert choose("prove it", guessing).rung == 0


def test_the_default_policy_holds_where_nothing_is_promised(desk, choose):
    """A request on record from before there was a prior is routed as it was then."""
    choice = choose("prove it", prior(desk.workflow, prove=1.0), gains=())
    assert choice.decision.tier is Tier.B


def test_a_prior_of_another_ladder_is_refused(files):
    """A prompt that was changed after the fit makes a bundle that does not compile, and says what to do."""
    workflow, _ = examine(Bundle(workflow="sorting", files=files))
    known = prior(workflow)
    fits = {**files, "prior.json": known.model_dump_json()}
    assert examine(Bundle(workflow="sorting", files=fits))[1] == ()
    other = fits | {"prompts/small/user.md": "changed {{ input.text }}"}
    workflow, problems = examine(Bundle(workflow="sorting", files=other))
    assert workflow is None
    assert {one.file for one in problems} == {"prior.json"}
    assert problems[0].found == "variant small was fitted on another prompt, model or other parameters"
    assert "penstock train-router" in problems[0].mend


def test_a_file_that_is_no_prior_is_named(files):
    """Each wrong field, and the command that writes it anew."""
    _, problems = examine(Bundle(workflow="sorting", files={**files, "prior.json": json.dumps({"scales": []})}))
    assert {one.field for one in problems} == {"variants", "n", "source", "fitted_on"}


@given(st.text(max_size=3000))
def test_any_text_has_a_finite_shape_and_words_of_bounded_number(text):
    """Whatever is sent, a decision is made, from at most so many tokens as characters are read."""
    found = tokens(text)
    looks = shape(text, found, set(found))
    assert len(looks) == len(SHAPE)
    assert all(0 <= value < 100 for value in looks)
    assert len(found) <= 2000

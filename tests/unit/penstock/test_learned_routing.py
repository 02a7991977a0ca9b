import random
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from penstock.learned_routing import LearningError, Observed, apgr, interval, on_record, recovered, train
from schemas.base import json_text

VARIANTS = {"small": "0" * 64, "large": "1" * 64}
EASY, HARD = ("hello thank where cards maybe", "prove lemma angle limit bound")


def observed(n, told):
    """Inputs of random words; the small model fails on hard ones with the probability `told`, the large one never."""
    chance = random.Random(0)
    found = []
    for _ in range(n):
        hard = chance.random() < 0.4
        words = chance.choices((HARD if hard else EASY).split(), k=4)
        fails = chance.random() < (told if hard else 1 - told)
        found.append(Observed(json_text({"text": " ".join(words)}), (float(not fails), 1.0)))
    return found


def learned(found, **changes):
    told = {"recover": 0.8, "source": "made up", "today": date(2026, 11, 21)} | changes
    return train(found, VARIANTS, **told)


def test_words_that_tell_are_learned_and_the_evidence_says_so():
    """Hard words weigh up, easy ones down; the share of the gain that is kept is what was asked for."""
    prior = learned(observed(600, told=0.95))
    (scale,) = prior.scales
    assert scale.variant == "large"
    assert scale.held_out.worth_it
    assert scale.held_out.recovered >= 0.8
    assert scale.held_out.jobs < 0.5
    assert min(scale.words[word] for word in HARD.split()) > max(scale.words[word] for word in EASY.split())
    assert prior.start(prior.gains(json_text({"text": "prove the lemma"}))) == 1
    assert prior.start(prior.gains(json_text({"text": "hello and thank"}))) == 0


def test_words_that_tell_nothing_are_not_worth_it():
    """Where chance decides, the lower bound does not beat length, and every job starts at the foot."""
    prior = learned(observed(600, told=0.5))
    assert not prior.scales[0].held_out.worth_it
    assert prior.start((1.0,)) == 0


def test_what_was_fitted_is_what_is_predicted():
    """The prior in the bundle predicts what the regression did: nothing is lost on the way into the file."""
    found = observed(400, told=0.9)
    prior = learned(found)
    again = type(prior).model_validate_json(prior.model_dump_json())
    assert [again.gains(one.text) for one in found] == [prior.gains(one.text) for one in found]
    assert again == prior


@pytest.mark.parametrize(
    ("found", "variants", "said"),
    [
        (observed(50, 0.9), VARIANTS, "50 inputs were answered at every rung; 100 are needed"),
        ([Observed('"x"', (1.0,))] * 200, {"small": "0" * 64}, "the ladder has one rung"),
        ([Observed('"x"', (1.0, 1.0))] * 200, VARIANTS, "variant large .* adds nothing here"),
        ([Observed('"x"', (1.0, 0.0))] * 200, VARIANTS, "variant large .* adds nothing here"),
    ],
    ids=["few", "one rung", "no gain", "a loss"],
)
def test_what_can_t_be_learned_is_refused(found, variants, said):
    """The reason, and what to do."""
    with pytest.raises(LearningError, match=said):
        train(found, variants, recover=0.8, source="made up", today=date(2026, 11, 21))


def test_jobs_on_record_tell_how_far_up_they_had_to_go():
    """A kept answer was wrong below its rung; one that no rung could give was wrong everywhere; the rest is silent."""
    rows = [
        ("a", 0, "accepted"),
        ("b", 2, "accepted_after_review"),
        ("c", 2, "escalated"),
        ("d", 1, "escalated"),
        ("e", 0, "expired"),
        ("f", 3, "accepted"),
    ]
    assert on_record(rows, 3) == (
        Observed("a", (1.0, 1.0, 1.0)),
        Observed("b", (0.0, 0.0, 1.0)),
        Observed("c", (0.0, 0.0, 0.0)),
    )


def test_the_average_of_known_orders():
    """Best first recovers all at once, worst first at the very end."""
    gain = np.array([1.0, 0.0, 0.0, 0.0])
    assert apgr(gain, gain) == pytest.approx(0.875)
    assert apgr(-gain, gain) == pytest.approx(0.125)
    assert recovered(gain, gain).tolist() == [0, 1, 1, 1, 1]


gains = arrays(np.float64, st.integers(2, 60), elements=st.sampled_from([-1.0, 0.0, 1.0])).filter(lambda g: g.sum() > 0)


@given(gains, st.integers(0, 100))
def test_an_order_and_its_reverse_recover_one_together(gain, seed):
    """What one order gains early the reverse gains late; a random choice so has one half on average."""
    score = np.random.default_rng(seed).permutation(len(gain)).astype(float)
    assert apgr(score, gain) + apgr(-score, gain) == pytest.approx(1.0)
    assert recovered(score, gain)[-1] == pytest.approx(1.0)


def test_the_interval_holds_the_estimate():
    """More inputs make it narrower."""
    draw = np.random.default_rng(0)
    gain = (draw.random(2000) < 0.3).astype(float)
    score = gain + draw.normal(size=2000)
    low, high = interval(score, gain)
    few_low, few_high = interval(score[:200], gain[:200])
    assert low < apgr(score, gain) < high
    assert high - low < few_high - few_low

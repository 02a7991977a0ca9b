"""What the trained models know, measured on messages that none of them has seen."""

import json
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.local import banking77
from penstock.local.model_server.completions import complete
from penstock.local.model_server.labels import Card, cards_in
from penstock.local.model_server.recipes import RECIPES
from penstock.local.model_server.training import cache_key, trained
from penstock.local.model_server.wire import ChatRequest

pytestmark = pytest.mark.stack

SAMPLE = banking77.split("unseen")[::2]
DESCRIBED = "Classify the message.\n\nLabels:\n" + banking77.described_labels()
NAMED = "Classify the message.\n\nLabels: " + ", ".join(banking77.labels())
BARE = "Classify the message into an intent."


def accuracy(model, system):
    return np.mean([answer(model, system, message.text) == message.label for message in SAMPLE])


def answer(model, system, text):
    chat = ChatRequest.model_validate(
        {"model": model.name, "messages": [{"role": "system", "content": system}, {"role": "user", "content": text}]}
    )
    return complete(model, chat, call_id="c", now=0.0, random=Random(0)).content


@pytest.fixture(scope="module")
def measured(models):
    return {name: [accuracy(model, system) for system in (DESCRIBED, NAMED, BARE)] for name, model in models.items()}


def test_the_models_differ_in_quality(measured):
    """Under the best prompt each model is clearly better than the smaller one."""
    small, mid, large = (measured[name][0] for name in ("local-small", "local-mid", "local-large"))
    assert 0.65 < small < 0.78
    assert small + 0.05 < mid < 0.88
    assert mid + 0.02 < large < 0.95


def test_a_worse_prompt_gives_worse_answers(measured):
    """For every model: without descriptions clearly worse, without labels useless."""
    for described, named, bare in measured.values():
        assert named < described - 0.02
        assert bare < 0.02


def test_labels_are_understood_by_what_is_said_of_them_not_by_name(models):
    """Renamed labels with the same descriptions work nearly as well; renamed labels alone tell nothing."""
    model, cards = models["local-large"], cards_in(DESCRIBED)
    right = {card.name: place for place, card in enumerate(cards)}

    def share_right(read):
        reader = model.read(read)
        return np.mean([reader.probabilities(m.text).argmax() == right[m.label] for m in SAMPLE])

    assert share_right(tuple(Card(f"Q{place}", card.description) for place, card in enumerate(cards))) > 0.8
    assert share_right(tuple(Card(f"Q{place}") for place in range(len(cards)))) < 0.1


@pytest.mark.parametrize("name", [recipe.name for recipe in RECIPES])
@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("My parcel never came, can you track it?", "shipping"),
        ("The app crashes when I log in", "technical"),
        ("I was charged twice on my invoice", "billing"),
    ],
)
def test_labels_of_ones_own_work_by_their_wording(models, name, text, label):
    """Labels that no model was trained on are chosen by their descriptions."""
    system = (
        "Labels:\n- billing: invoices, charges, refunds\n- technical: the app crashes, errors, cannot log in\n"
        "- shipping: parcel delivery, tracking, late or lost package"
    )
    assert answer(models[name], system, text) == label


def test_examples_in_the_prompt_help(models):
    """A text like an example is given the example's label."""
    system = "Labels: red, blue\n"
    shots = system + 'Example: "the quick brown fox" -> red\nExample: "a lazy dog sleeps" -> blue\n'
    reader_without, reader_with = (models["local-small"].read(cards_in(prompt)) for prompt in (system, shots))
    text = "some lazy dog"
    assert reader_with.probabilities(text)[1] > 0.9 > reader_without.probabilities(text)[1]


@settings(deadline=None)
@given(st.text(max_size=80), st.sampled_from(RECIPES))
def test_probabilities_are_probabilities_for_any_text(models, text, recipe):
    """They are above 0 and sum to 1, whatever the text; only labels on offer have any."""
    reader = models[recipe.name].read(cards_in(NAMED)[:5])
    probabilities = reader.probabilities(text)
    assert probabilities.shape == (5,)
    assert probabilities.min() > 0
    assert probabilities.sum() == pytest.approx(1.0)


def test_confidence_says_something(models):
    """Answers with a higher probability are right more often."""
    reader = models["local-mid"].read(cards_in(DESCRIBED))
    drawn = [
        (p.max(), reader.cards[p.argmax()].name == m.label) for m in SAMPLE for p in [reader.probabilities(m.text)]
    ]
    ranked = [right for _, right in sorted(drawn, key=lambda pair: pair[0])]
    third = len(ranked) // 3
    assert np.mean(ranked[:third]) + 0.15 < np.mean(ranked[-third:])


@pytest.mark.parametrize("damage", [b"", b"not a model", None])
def test_a_damaged_file_is_made_again(models, models_folder, tmp_path, damage):
    """An empty, foreign or cut file is replaced by a good one."""
    recipe = RECIPES[0]
    path = tmp_path / f"{recipe.name}-{cache_key(recipe)}.npz"
    whole = (models_folder / path.name).read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    weights = trained(recipe, tmp_path)
    assert np.allclose(weights.coefficients, models[recipe.name].weights.coefficients)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert np.array_equal(trained(recipe, tmp_path).coefficients, weights.coefficients)


def test_an_answer_in_a_prompts_own_json_form(models):
    """The keys of an example object in the prompt are filled: the label, its probability."""
    system = DESCRIBED + '\nAnswer with JSON: {"intent": "<label>", "confidence": 0.0}'
    got = json.loads(answer(models["local-large"], system, "I am still waiting on my new card, where is it?"))
    assert got["intent"] == "card_arrival"
    assert 0.5 < got["confidence"] <= 1.0

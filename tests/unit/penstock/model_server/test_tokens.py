import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.local import banking77
from penstock.local.model_server.tokens import Choice, Fixed, Tree, probability, split_text, write

names = st.text(st.sampled_from("ab_ 1é?"), min_size=1, max_size=8)


@st.composite
def weighed_options(draw):
    options = draw(st.lists(names, min_size=1, max_size=12, unique=True))
    weights = draw(st.lists(st.floats(1e-6, 1.0), min_size=len(options), max_size=len(options)))
    return options, np.array(weights) / sum(weights)


@given(st.text())
def test_tokens_joined_are_the_text(text):
    """Nothing is lost or changed by the tokeniser, whatever the text."""
    assert "".join(split_text(text)) == text


@given(weighed_options())
def test_the_tokens_of_an_option_multiply_to_its_probability(drawn):
    """For every option: its tokens spell it, and their product is its probability; all products sum to 1."""
    options, probabilities = drawn
    tree = Tree(options)
    products = []
    for place, option in enumerate(options):
        tokens = list(tree.walk(place, probabilities))
        assert "".join(token.text for token in tokens) == option
        products.append(probability(tokens))
    assert products == pytest.approx(probabilities.tolist(), rel=1e-6)
    assert math.fsum(products) == pytest.approx(1.0, rel=1e-6)


@given(weighed_options(), st.data())
def test_the_alternatives_at_a_token_are_all_that_could_stand_there(drawn, data):
    """They sum to 1, are sorted, differ from each other and contain the token that was written."""
    options, probabilities = drawn
    chosen = data.draw(st.integers(0, len(options) - 1))
    for token in Tree(options).walk(chosen, probabilities):
        logs = [logprob for _, logprob in token.alternatives]
        assert math.fsum(map(math.exp, logs)) == pytest.approx(1.0, rel=1e-6)
        assert logs == sorted(logs, reverse=True)
        assert len({text for text, _ in token.alternatives}) == len(logs)
        assert (token.text, token.logprob) in token.alternatives


def test_real_labels_share_their_beginnings():
    """`card_arrival` and `card_linking` are one token until they part, as for a real constrained model."""
    labels = banking77.labels()
    probabilities = np.full(len(labels), 1 / len(labels))
    tokens = list(Tree(labels).walk(labels.index("card_arrival"), probabilities))
    assert [token.text for token in tokens] == ["card", "_arrival"]
    sharing = [label for label in labels if label.startswith("card_")]
    assert math.exp(tokens[0].logprob) == pytest.approx(len(sharing) / len(labels))


def test_an_option_that_begins_another_keeps_its_own_probability():
    """A label that is the beginning of another is told apart from it by its tokens."""
    tree = Tree(["pin", "pin_blocked"])
    assert probability(tree.walk(0, np.array([0.25, 0.75]))) == pytest.approx(0.25)
    assert [token.text for token in tree.walk(1, np.array([0.25, 0.75]))] == ["pin_blocked"]


@pytest.mark.parametrize("options", [[], ["a", "a"], ["a", ""]])
def test_a_choice_needs_options_that_can_be_told_apart(options):
    """No option, the same one twice, or an empty one is refused by name."""
    with pytest.raises(ValueError, match="different, non-empty options"):
        Tree(options)


def test_an_answer_has_the_same_tokens_with_and_without_log_probabilities():
    """Leaving the probabilities out changes no token."""
    parts = [Fixed('{"intent":"'), Choice(Tree(["card_arrival", "age_limit"]), np.array([0.9, 0.1]), 0), Fixed('"}')]
    quick, full = write(parts, logprobs=False), write(parts, logprobs=True)
    assert [token.text for token in quick] == [token.text for token in full]
    assert probability(full) == pytest.approx(0.9, abs=1e-3)

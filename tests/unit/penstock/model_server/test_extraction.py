import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.local.model_server import extraction

FINDERS = [extraction.numbers, extraction.whole_numbers, extraction.dates, extraction.emails, extraction.references]


def best(candidates):
    return max(candidates, key=lambda candidate: candidate.score).text


def test_sentences_are_parts_of_the_text():
    """Sentences end at full stops that end words, not inside numbers."""
    assert extraction.sentences("It cost 3.50 euros. Why?\nTell me!") == ["It cost 3.50 euros.", "Why?", "Tell me!"]


def test_the_best_sentence_shares_words_with_the_question():
    """The sentence that answers is found among the sources."""
    sources = ["Cards are blue. A card takes ten days to arrive.", "The office is closed on Sunday."]
    assert (
        best(extraction.best_sentences(sources, "How many days until my card arrives?"))
        == "A card takes ten days to arrive."
    )


@pytest.mark.parametrize(
    ("text", "about", "number"),
    [
        ("I ordered 2 shoes for $1,250.50 in 2024", "amount", "1250.50"),
        ("order 77, quantity 3, please", "quantity", "3"),
        ("minus -12 degrees", "temperature", "-12"),
        ("room 007 please", "room", "7"),
    ],
)
def test_numbers_near_their_word_are_found(text, about, number):
    """Money marks an amount, and a word of the field's name marks its number; JSON can hold what is written."""
    assert best(extraction.numbers(text, about)) == number


def test_dates_become_iso_dates_and_impossible_ones_are_left_out():
    """ISO and written dates are read; the 31st of February is no date."""
    found = extraction.dates("between 2026-02-31, 2026-03-01 and 4 May 2026", "")
    assert [candidate.text for candidate in found] == ["2026-03-01", "2026-05-04"]


def test_references_and_addresses_are_found():
    """A word with digits is a reference; a mail address is an address."""
    text = "order A-1234 for jo.doe@example.org"
    assert best(extraction.references(text, "")) == "A-1234"
    assert best(extraction.emails(text, "")) == "jo.doe@example.org"


@given(st.text(max_size=300), st.text(max_size=30))
def test_any_text_gives_candidates_that_can_be_weighed(text, about):
    """Candidates differ from each other, and their probabilities are above 0 and sum to 1, whatever the text."""
    for finder in FINDERS:
        found = finder(text, about)
        assert len({candidate.text for candidate in found}) == len(found)
        if found:
            weights = extraction.weigh(found)
            assert weights.min() > 0
            assert np.isclose(weights.sum(), 1.0)


@pytest.mark.parametrize("piece", ["1", "1,000 ", "a1 ", "a@", "a.b@c.", ". ", "a", " ", "2026-01-01 ", "4 may 2026 "])
def test_no_text_takes_long_to_search(piece):
    """Two million characters of anything are searched in a moment."""
    hostile = piece * (2_000_000 // len(piece))
    began = time.process_time()
    for finder in FINDERS:
        finder(hostile, "amount")
    extraction.best_sentences([hostile], "amount")
    assert time.process_time() - began < 2.0

import pytest

from processors.languages import language_of
from schemas.base import json_text


@pytest.mark.parametrize(
    ("value", "language"),
    [
        ({"text": "Why was I charged twice for the withdrawal I made yesterday?"}, "en"),
        ({"betreff": "Erstattung", "text": "Ich m\u00f6chte mein Geld zur\u00fcck, das Paket kam kaputt an"}, "de"),
        ("\u00bfD\u00f3nde est\u00e1 mi tarjeta?", "es"),
        (["\u79c1\u306e\u30ab\u30fc\u30c9\u306f\u3069\u3053\u3067\u3059\u304b\uff1f"], "ja"),
        ({"n": 3, "ok": True, "text": "12,50 / 2026-11-22"}, "und"),
        ({"text": ""}, "und"),
        ({"text": "qzx wvk"}, "und"),
    ],
)
def test_the_language_of_an_input_s_texts(value, language):
    """Names of fields say nothing, and what is too little to go by is undetermined."""
    assert language_of(json_text(value)) == language


def test_a_long_input_is_judged_by_its_beginning():
    """A page costs no more than a sentence; line ends are no trouble."""
    text = "I would like to know where my card is.\n" * 20 + "Wo ist meine Karte geblieben? " * 5000
    assert language_of(json_text({"text": text})) == "en"

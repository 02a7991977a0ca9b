import math

import pytest

from processors.evaluators.field_probability import Unmeasured, field_probability, scalar_spans


def _measured(completion, fields=(), *, structured=True):
    return field_probability(completion, fields, structured=structured)


def test_spans_of_every_scalar():
    """Strings without their quotes, numbers, literals, empty strings, deep ones; keys are no fields."""
    text = '{"a": "x\\"y", "b": [1.5e3, {"c": true}, null, []], "d/e": "", "f": {}, "g": "tail"}'
    spans = {span.pointer: text[span.start : span.end] for span in scalar_spans(text)}
    assert spans == {
        "/a": 'x\\"y',
        "/b/0": "1.5e3",
        "/b/1/c": "true",
        "/b/2": "null",
        "/d~1e": '""',
        "/g": "tail",
    }


@pytest.mark.parametrize("text", ['"yes"', ' "yes" ', '```json\n"yes"\n```'])
def test_a_scalar_answer_is_one_span(text):
    """The whole value's pointer is empty."""
    assert [(span.pointer, text[span.start : span.end]) for span in scalar_spans(text)] == [("", "yes")]


def test_only_the_fields_tokens_count(completion):
    """Braces, keys and quotes may be improbable: the value's tokens make the score."""
    answer = completion(('{"', -3.0), ("intent", -2.0), ('":"', -1.0), ("card", -0.1), ("_arrival", -0.2), ('"}', -5.0))
    assert _measured(answer, ("/intent",)) == pytest.approx(math.exp(-0.3))


def test_a_token_that_reaches_into_a_field_counts_whole(completion):
    """Tokenisers glue quotes to words."""
    answer = completion(('{"intent":"card', -0.5), ('_arrival"}', -0.25))
    assert _measured(answer, ("/intent",)) == pytest.approx(math.exp(-0.75))


def test_without_named_fields_all_count(completion):
    """Two fields: the joint probability of both."""
    answer = completion(('{"a":', -9.0), ("1", -0.1), (',"b":', -9.0), ("2", -0.2), ("}", -9.0))
    assert _measured(answer) == pytest.approx(math.exp(-0.3))
    assert _measured(answer, ("/b",)) == pytest.approx(math.exp(-0.2))


def test_an_answer_in_a_fence_is_measured(completion):
    """The fence is no part of a field."""
    answer = completion(("```json\n", -1.0), ('{"a":"', -1.0), ("x", -0.5), ('"}\n```', -1.0))
    assert _measured(answer) == pytest.approx(math.exp(-0.5))


def test_a_text_answer_counts_with_all_its_tokens(completion):
    """Plain text has no fields."""
    assert _measured(completion(("Good", -0.1), (" day", -0.2)), structured=False) == pytest.approx(math.exp(-0.3))


@pytest.mark.parametrize(
    ("tokens", "changes", "fields", "said"),
    [
        ((), {"text": '{"a":1}'}, (), "gave no token probabilities"),
        ((('{"a":1', -0.1),), {"text": '{"a":1}'}, (), "do not spell"),
        ((('{"a":1}', -0.1),), {}, ("/b",), "has no field /b"),
        ((("{}", -0.1),), {}, (), "has no field at all"),
    ],
)
def test_what_can_not_be_measured_is_unknown_and_not_zero(completion, tokens, changes, fields, said):
    """The reason stands where the number would."""
    found = _measured(completion(*tokens, **changes), fields)
    assert isinstance(found, Unmeasured)
    assert said in found.reason


def test_a_logarithm_above_zero_is_no_more_than_certain(completion):
    """Rounding at the provider can't make a probability above one."""
    assert _measured(completion(('{"a":1}', 1e-7))) == 1.0

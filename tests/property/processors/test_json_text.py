import json
import math

from hypothesis import given
from hypothesis import strategies as st

from processors.checks.schema import pointer
from processors.checks.strict_json import Parsed, Refused, parse
from processors.evaluators.calibration import log_odds, logistic
from processors.evaluators.field_probability import scalar_spans

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def _scalars(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _scalars(inner, (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _scalars(inner, (*path, i))
    else:
        yield pointer(path), value


@given(values, st.booleans(), st.sampled_from([None, 2]))
def test_every_json_value_is_read_back(value, ascii_only, indent):
    """However it is written, the value is the same."""
    parsed = parse(json.dumps(value, ensure_ascii=ascii_only, indent=indent))
    assert isinstance(parsed, Parsed)
    assert parsed.value == value
    assert json.loads(parsed.text) == value


@given(st.text())
def test_no_text_makes_the_reader_raise(text):
    """Any text is parsed or refused, and what is parsed is what Python reads."""
    outcome = parse(text)
    if isinstance(outcome, Parsed):
        assert json.loads(outcome.text) == outcome.value
    else:
        assert isinstance(outcome, Refused)


@given(values, st.sampled_from([None, 2]))
def test_spans_find_every_scalar_where_it_stands(value, indent):
    """Each scalar of the value is found once, by its pointer, with its own text."""
    text = json.dumps(value, indent=indent)
    found = [(span.pointer, text[span.start : span.end]) for span in scalar_spans(text)]
    expected = [(place, json.dumps(scalar)) for place, scalar in _scalars(value)]
    written = [(place, word[1:-1] if word.startswith('"') and len(word) > 2 else word) for place, word in expected]
    assert found == written


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 10), st.floats(-10, 10))
def test_a_platt_map_never_turns_two_scores_around(low, high, slope, intercept):
    """A better raw score never means less confidence, and confidence stays a probability."""
    low, high = sorted((low, high))
    below, above = (logistic(slope * log_odds(raw) + intercept) for raw in (low, high))
    assert 0 <= below <= above <= 1
    assert math.isfinite(above)

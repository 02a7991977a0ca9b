from hypothesis import given
from hypothesis import strategies as st

from processors.languages import language_of
from schemas.base import json_text

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)
values = st.recursive(
    texts | st.none() | st.booleans() | st.integers(-(2**53), 2**53),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


@given(values)
def test_whatever_an_input_is_its_language_is_a_tag(value):
    """No text, however strange, stops intake: there is a tag, of letters alone."""
    assert language_of(json_text(value)).isalpha()

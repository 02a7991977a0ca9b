from hypothesis import given
from hypothesis import strategies as st
from recorded.readings import recordings

from processors.providers import Completion, Dialect, ProviderFailure, parse

SEEDS = [one for one in recordings() if one.dialect is not None and len(one.body) < 6000][::12]
EDITS = st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 40), st.binary(max_size=12)), min_size=1, max_size=6)
JSON_WORDS = st.sampled_from(
    [b"null", b"{}", b"[]", b"[[", b"-1", b"1e999", b'"\\ud800"', b"true", b"\xff\xfe", b"data: "]
)


@st.composite
def mutated(draw):
    """A recorded body with pieces cut out and put in."""
    seed = draw(st.sampled_from(SEEDS))
    body = seed.body
    for place, length, piece in draw(EDITS):
        at = place % (len(body) + 1)
        body = body[:at] + (draw(JSON_WORDS) if len(piece) == 12 else piece) + body[at + length :]
    return seed, body


@given(mutated(), st.sampled_from(Dialect), st.sampled_from([200, 429, 500]), st.booleans())
def test_whatever_comes_is_a_completion_or_a_failure(found, other, status, stream):
    """Recorded bodies with random damage, read as what they are and as another dialect, never raise."""
    seed, body = found
    for dialect in (seed.dialect, other):
        parsed = parse(dialect, status, seed.headers, body, stream=stream)
        assert isinstance(parsed, Completion | ProviderFailure)
        assert isinstance(parsed, ProviderFailure) or status == 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "message",
                    "content",
                    "output",
                    "candidates",
                    "usage",
                    "error",
                    "delta",
                    "index",
                    "type",
                    "parts",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values, st.sampled_from(Dialect), st.dictionaries(st.text(max_size=12), st.text(max_size=12), max_size=3))
def test_any_json_and_any_headers_are_read(value, dialect, headers):
    """Values of any kind in the places that matter give a completion or a failure."""
    import orjson  # noqa: PLC0415 -- one test's concern

    body = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS) if _fits(value) else b"{"
    for given_body in (body, b"data: " + body + b"\n\ndata: [DONE]\n\n"):
        assert isinstance(parse(dialect, 200, headers, given_body), Completion | ProviderFailure)


def _fits(value):
    if isinstance(value, int) and not isinstance(value, bool):
        return -(2**63) <= value < 2**63
    if isinstance(value, str):
        return value.isascii() or all(not 0xD800 <= ord(one) <= 0xDFFF for one in value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(map(_fits, inner))

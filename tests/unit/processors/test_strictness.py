import pytest

from processors.models import Dialect, ProviderSettings
from processors.providers.strictness import refusals

OPENAI = ProviderSettings(base_url="https://api.openai.com/v1")
AZURE = ProviderSettings(base_url="https://x.openai.azure.com/openai/v1", dialect=Dialect.OPENAI_RESPONSES)
VLLM = ProviderSettings(base_url="http://127.0.0.1:8000/v1")
ANTHROPIC = ProviderSettings(base_url="https://api.anthropic.com/v1", dialect=Dialect.ANTHROPIC)
GEMINI = ProviderSettings(base_url="https://g.example/v1beta", dialect=Dialect.GEMINI)


def _object(**properties):
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


GOOD = _object(a={"type": "string", "enum": ["x"]}, b={"type": "array", "items": _object(c={"type": "integer"})})


@pytest.mark.parametrize("provider", [OPENAI, AZURE, VLLM, ANTHROPIC, GEMINI])
def test_a_closed_schema_is_taken_everywhere(provider):
    """Objects that are closed and whole, enumerations and lists."""
    assert list(refusals(provider, GOOD)) == []


@pytest.mark.parametrize(
    ("schema", "openai", "anthropic"),
    [
        (GOOD | {"additionalProperties": True}, [""], [""]),
        (GOOD | {"required": ["a"]}, [""], []),
        (_object(a={"type": "string", "minLength": 2}), ["/properties/a"], ["/properties/a"]),
        (_object(a={"type": "integer", "minimum": 0}), [], ["/properties/a"]),
        (_object(a={"type": "array", "items": {"type": "object"}}), *[["/properties/a/items"]] * 2),
        (_object(a={"anyOf": [{"type": "null"}, {"allOf": []}]}), *[["/properties/a/anyOf/1"]] * 2),
        (GOOD | {"$defs": {"x": {"type": "string", "maxLength": 3}}}, ["/$defs/x"], ["/$defs/x"]),
        ({"anyOf": [GOOD]}, [""], []),
        (True, [], []),
    ],
)
def test_each_is_told_what_it_refuses(schema, openai, anthropic):
    """The place is a JSON Pointer; who enforces by a grammar of its own, or ignores what it does not know, takes it."""
    assert [place for place, _ in refusals(OPENAI, schema)] == openai
    assert [place for place, _ in refusals(ANTHROPIC, schema)] == anthropic
    assert list(refusals(VLLM, schema)) == list(refusals(GEMINI, schema)) == []

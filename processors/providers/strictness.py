"""What a provider's strict mode refuses of a JSON Schema. Pure; the rules are those of the providers' own pages.

OpenAI (structured outputs): every object closed and all of its properties required, no composition but `anyOf`, which
may not be at the root, and only some of the keywords. Anthropic (structured outputs): every object closed, no bounds of
numbers, lengths or counts, no recursion. Gemini ignores what it does not know.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from processors.models import Dialect, ProviderSettings

OPENAI_HOSTS: Final = ("openai.com", "azure.com")
"""Others who speak its dialect enforce schemas by a grammar, which knows more."""
_COMPOSED: Final = ("allOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas")
_OPEN: Final = ("patternProperties", "propertyNames", "minProperties", "maxProperties", "unevaluatedProperties")
_OPENAI: Final = frozenset((*_COMPOSED, *_OPEN, "contains", "uniqueItems", "minLength", "maxLength", "oneOf"))
_ANTHROPIC: Final = frozenset(
    (
        *(*_COMPOSED, *_OPEN, "contains", "uniqueItems", "minLength", "maxLength", "maxItems"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    )
)


def refusals(provider: ProviderSettings, schema: Any) -> Iterator[tuple[str, str]]:
    """What the provider would refuse of this schema: where, as a JSON Pointer, and what; nothing if it takes it."""
    if provider.dialect is Dialect.ANTHROPIC:
        yield from _walk(schema, "", _ANTHROPIC, all_required=False)
    elif provider.dialect in (Dialect.OPENAI_CHAT, Dialect.OPENAI_RESPONSES) and _is_openai(provider.base_url):
        if isinstance(schema, Mapping) and (schema.get("type") != "object" or "anyOf" in schema):
            yield "", "the root is no plain object"
        yield from _walk(schema, "", _OPENAI, all_required=True)


def _is_openai(url: str) -> bool:
    host = url.partition("://")[2].partition("/")[0].partition(":")[0]
    return any(host == known or host.endswith(f".{known}") for known in OPENAI_HOSTS)


def _walk(schema: Any, at: str, refused: frozenset[str], *, all_required: bool) -> Iterator[tuple[str, str]]:
    if not isinstance(schema, Mapping):
        return
    for keyword in sorted(refused & schema.keys()):
        yield at, f"{keyword} is not allowed"
    properties = schema.get("properties")
    if schema.get("type") == "object" or isinstance(properties, Mapping):
        yield from _of_object(
            schema, properties if isinstance(properties, Mapping) else {}, at, all_required=all_required
        )
    for name, inner in _inner(schema):
        yield from _walk(inner, f"{at}/{name}", refused, all_required=all_required)


def _of_object(
    schema: Mapping[str, Any], properties: Mapping[str, Any], at: str, *, all_required: bool
) -> Iterator[tuple[str, str]]:
    if schema.get("additionalProperties") is not False:
        yield at, "additionalProperties must be false"
    if all_required and (optional := sorted(set(properties) - set(schema.get("required", ())))):
        yield at, f"{', '.join(optional)} must be required; let it be null where it may be missing"


def _inner(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The schemas within a schema, each with its place."""
    for holder in ("properties", "$defs", "definitions"):
        if isinstance(schema.get(holder), Mapping):
            yield from ((f"{holder}/{name}", inner) for name, inner in schema[holder].items())
    for holder in ("anyOf", "prefixItems"):
        if isinstance(schema.get(holder), list):
            yield from ((f"{holder}/{place}", inner) for place, inner in enumerate(schema[holder]))
    if isinstance(schema.get("items"), Mapping):
        yield "items", schema["items"]

"""A value that a JSON Schema allows, as far as rendering needs it: fields and types, not every constraint."""

from dataclasses import dataclass
from typing import Any

_MAX_DEPTH = 8
_MAX_ITEMS = 10
_PLAIN: dict[str, Any] = {"string": "text", "number": 1.5, "integer": 1, "boolean": True, "null": None}


def sample(schema: Any, *, required_only: bool) -> Any:
    """A value with all fields that the schema names, or with those only that it requires."""
    return _Sampler(schema, required_only).value(schema, 0)


@dataclass(frozen=True, slots=True)
class _Sampler:
    root: Any
    required_only: bool

    def value(self, schema: Any, depth: int) -> Any:
        if not isinstance(schema, dict) or depth > _MAX_DEPTH:
            return "text"
        inner = _inner(schema, self.root)
        if inner is not None:
            return self.value(inner, depth + 1)
        given = _given(schema)
        return given[0] if given else self._made(_merged(schema), depth)

    def _made(self, schema: dict[str, Any], depth: int) -> Any:
        match _kind(schema):
            case "object":
                named = schema["properties"]
                wanted = [name for name in named if not self.required_only or name in schema["required"]]
                return {name: self.value(named[name], depth + 1) for name in wanted}
            case "array":
                least = schema.get("minItems", 0)
                count = least if self.required_only else max(1, least)
                return [self.value(schema.get("items"), depth + 1)] * min(count, _MAX_ITEMS)
            case kind:
                return _PLAIN.get(kind, "text")


def _inner(schema: dict[str, Any], root: Any) -> Any:
    """The schema that stands for this one: what it refers to, or the first of its alternatives."""
    if "$ref" in schema:
        return _resolved(str(schema["$ref"]), root)
    if "properties" in schema:
        return None
    return next((schema[key][0] for key in ("anyOf", "oneOf") if schema.get(key)), None)


def _given(schema: dict[str, Any]) -> list[Any]:
    """The values that the schema itself names."""
    named = [schema[key][0] for key in ("examples", "enum") if schema.get(key)]
    return named + [schema[key] for key in ("const", "default") if key in schema]


def _merged(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with the fields of its `allOf` parts taken in."""
    merged = {**schema, "properties": dict(schema.get("properties", {})), "required": list(schema.get("required", ()))}
    for part in schema.get("allOf", ()):
        if isinstance(part, dict):
            merged["properties"] |= part.get("properties", {})
            merged["required"] += part.get("required", ())
            merged.setdefault("type", part.get("type"))
    return merged


def _kind(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "null")
    if kind is None:
        return "object" if schema["properties"] else "string"
    return str(kind)


def _resolved(reference: str, root: Any) -> Any:
    """What a local reference such as `#/$defs/address` points to."""
    here = root
    for part in reference.removeprefix("#").split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        here = here.get(name) if isinstance(here, dict) else None
    return here if isinstance(here, dict) else {}

"""A value that a JSON Schema allows, as far as a template's rendering needs it: fields and types, not every constraint."""

from typing import Any

_MAX_DEPTH = 8
_PLAIN: dict[str, Any] = {"string": "text", "number": 1.5, "integer": 1, "boolean": True, "null": None}


def sample(schema: Any, *, required_only: bool) -> Any:
    """A value with all fields that the schema names, or with those only that it requires."""
    return _sample(schema, schema, required_only=required_only, depth=0)


def _sample(schema: Any, root: Any, *, required_only: bool, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return "text"
    if "$ref" in schema:
        return _sample(_resolved(schema["$ref"], root), root, required_only=required_only, depth=depth + 1)
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return _sample(schema[key][0], root, required_only=required_only, depth=depth + 1)
    merged = _merged(schema)
    kind = _kind(merged)
    if kind == "object":
        named = merged.get("properties", {})
        wanted = [name for name in named if not required_only or name in merged.get("required", ())]
        return {
            name: _sample(named[name], root, required_only=required_only, depth=depth + 1) for name in wanted
        }
    if kind == "array":
        count = merged.get("minItems", 0) if required_only else max(1, merged.get("minItems", 0))
        return [_sample(merged.get("items"), root, required_only=required_only, depth=depth + 1)] * min(count, 10)
    return _PLAIN.get(kind, "text")


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
    return here

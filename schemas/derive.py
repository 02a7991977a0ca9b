"""Derives Avro schemas from the wire models, so that the two can't disagree.

`python -m schemas.derive` writes a new file for each record whose schema changed: `avsc/<name>.v<n+1>.avsc`. A released
file is never edited. Rules: an enum's first member is its default; JSON text is a string; money is decimal(18, 9);
times are timestamp-micros; a field with a default in the model has one in Avro.
"""

import json
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

Schema = Any  # an Avro schema as JSON: a string, a list (union) or an object

PRIMITIVES: dict[Any, Schema] = {
    str: "string",
    int: "long",
    float: "double",
    bool: "boolean",
    bytes: "bytes",
    datetime: {"type": "long", "logicalType": "timestamp-micros"},
    Decimal: {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 9},
}


def schema_of(model: type[BaseModel], name: str | None = None) -> Schema:
    """The Avro schema of a wire model, under its class name or the one given."""
    return _record(model, name or model.__name__, set())


def _record(model: type[BaseModel], name: str, seen: set[str]) -> Schema:
    if name in seen:
        return name
    seen.add(name)
    fields = [_field(key, info, seen) for key, info in model.model_fields.items()]
    return {"type": "record", "name": name, "namespace": "penstock", "fields": fields}


def _field(name: str, info: FieldInfo, seen: set[str]) -> Schema:
    field: dict[str, Any] = {"name": name, "type": _type(info.annotation, seen)}
    default = info.get_default(call_default_factory=False)
    if default is not PydanticUndefined:
        field["default"] = _default(default)
        if isinstance(field["type"], list) and default is not None:
            field["type"] = [kind for kind in field["type"] if kind != "null"] + ["null"]
    return field


def _default(value: Any) -> Any:
    match value:
        case BaseModel():
            return {key: _default(getattr(value, key)) for key in type(value).model_fields}
        case StrEnum():
            return value.value
        case Decimal():
            return "\u0000" if value == 0 else str(value)  # Avro gives bytes as ISO-8859-1; zero is one zero byte
        case tuple():
            return [_default(item) for item in value]
        case _:
            return value


def _type(annotation: Any, seen: set[str]) -> Schema:  # noqa: PLR0911 -- one line per kind of type
    if hasattr(annotation, "__supertype__"):
        return _type(annotation.__supertype__, seen)
    if annotation in PRIMITIVES:
        return PRIMITIVES[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(arguments[0], seen)
    if origin in {typing.Union, types.UnionType}:
        return ["null", *(_type(kind, seen) for kind in arguments if kind is not types.NoneType)]
    if origin is tuple:
        return {"type": "array", "items": _type(arguments[0], seen)}
    if origin is dict:
        return {"type": "map", "values": _type(arguments[1], seen)}
    if issubclass(annotation, StrEnum):
        return _enum(annotation, seen)
    if issubclass(annotation, BaseModel):
        return _record(annotation, annotation.__name__, seen)
    raise TypeError(f"no Avro type is known for {annotation!r}: use one of {sorted(str(kind) for kind in PRIMITIVES)}")


def _enum(kind: type[StrEnum], seen: set[str]) -> Schema:
    if kind.__name__ in seen:
        return kind.__name__
    seen.add(kind.__name__)
    symbols = [member.value for member in kind]
    return {"type": "enum", "name": kind.__name__, "symbols": symbols, "default": symbols[0]}


def write_changed(models: Mapping[str, type[BaseModel]], folder: Path) -> list[Path]:
    """Write a next version for each record whose schema is not its newest file; return the files written."""
    written = []
    for name, model in models.items():
        text = json.dumps(schema_of(model, name), indent=1) + "\n"
        versions = sorted(folder.glob(f"{name}.v*.avsc"), key=lambda path: int(path.suffixes[-2][2:]))
        if versions and versions[-1].read_text() == text:
            continue
        path = folder / f"{name}.v{len(versions) + 1}.avsc"
        path.write_text(text)
        written.append(path)
    return written


if __name__ == "__main__":
    from schemas.avro import FOLDER, RECORDS

    for path in write_changed(RECORDS, FOLDER):
        print(f"wrote {path.name}")  # noqa: T201 -- a command's output

"""TOML text into frozen models; what does not fit comes back as problems with file, line, field and mend.

Numbers with a point are read as decimals, so that a price keeps the digits it was written with.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from processors.problems import Problem

M = TypeVar("M", bound=BaseModel)
Path = tuple[str | int, ...]

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")
_AT_LINE = re.compile(r"\(at line (\d+)")


class Settings(BaseModel):
    """A frozen model of a file: an unknown key is an error, not something to drop."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


def read_toml(file: str, text: str, model: type[M]) -> M | tuple[Problem, ...]:
    """The file's text as a model, or everything that is wrong with it."""
    try:
        fields = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        found = _AT_LINE.search(str(error))
        line = int(found[1]) if found else max(1, text.count("\n"))
        return (Problem(file, line, "", f"this is not TOML: {error}", "mend the syntax of this line"),)
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        return tuple(_problems(file, text, model, error))


def _problems(file: str, text: str, model: type[BaseModel], error: ValidationError) -> Iterator[Problem]:
    for detail in error.errors():
        path: Path = detail["loc"]
        line = line_of(text, path)
        name = ".".join(map(str, path))
        match detail["type"]:
            case "missing":
                yield Problem(file, line, name, "it is missing", f"add {path[-1]} = …")
            case "extra_forbidden":
                yield Problem(file, line, name, "no such key", nearest(str(path[-1]), keys_at(model, path[:-1])))
            case _:
                yield Problem(file, line, name, f"found {str(detail['input'])[:80]!r}", f"{detail['msg']}")


def nearest(name: str, known: Iterable[str]) -> str:
    """A mend for a name that refers to nothing: the nearest known name, and all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}known here: {', '.join(known) or 'nothing'}"


def keys_at(model: type[BaseModel], path: Path) -> tuple[str, ...]:
    """The keys that may stand at a place in the file, from the model's fields."""
    here: type[BaseModel] | None = model
    parts = iter(path)
    for part in parts:
        if isinstance(part, int) or here is None:
            continue
        info = here.model_fields.get(part)
        here = _model_within(info.annotation) if info else None
        if info and get_origin(info.annotation) is Mapping:
            next(parts, None)  # the name that the file gives to an entry
    return tuple(here.model_fields) if here is not None else ()


def _model_within(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation such as `tuple[Rung, ...]` or `dict[str, Model]` holds, if it holds one."""
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation if issubclass(annotation, BaseModel) else None
    return next((found for arg in get_args(annotation) if (found := _model_within(arg))), None)


def line_of(text: str, path: Path) -> int:
    """The line (from 1) of the key at `path`, or of the nearest section around it."""
    best, depth = 1, 0
    header: Path = ()
    counts: dict[Path, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if opened := _HEADER.match(line):
            header = _header(opened[1], _names(opened[2]), counts)
            here = header
        elif key := _KEY.match(line):
            here = header + _names(key[1])
        else:
            continue
        if len(here) > depth and path[: len(here)] == here:
            best, depth = number, len(here)
    return best


def _header(bracket: str, names: Path, counts: dict[Path, int]) -> Path:
    """The place that a section's header opens; a repeated `[[section]]` counts from 0."""
    if bracket == "[[":
        counts[names] = counts.get(names, -1) + 1
        return (*names, counts[names])
    return names


def _names(dotted: str) -> Path:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))

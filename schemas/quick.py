"""Frozen value classes that are made by the dozen for every job: the same classes, made in half the time."""

from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar, cast

T = TypeVar("T")


def quick(cls: type[T]) -> type[T]:
    """Give a `@dataclass(frozen=True, slots=True)` an `__init__` that sets each slot itself.

    That of dataclasses asks `object.__setattr__` for every field, which looks the slot up by its name: 1.18 instead of
    0.56 µs for five fields, and 4 % of what a job took in all.
    """
    names: dict[str, Any] = {}
    of = fields(cast("Any", cls))  # which refuses what is no dataclass
    parameters, lines = ["self"], []
    assert all(one.init and not one.kw_only for one in of), f"{cls.__name__} is not made of its fields in order"
    for one in of:
        names[f"set_{one.name}"] = vars(cls)[one.name].__set__
        parameters.append(_parameter(one, names))
        given = one.name
        if one.default_factory is not MISSING:
            names[f"new_{one.name}"], names["MISSING"] = one.default_factory, MISSING
            given = f"new_{one.name}() if {one.name} is MISSING else {one.name}"
        lines.append(f"    set_{one.name}(self, {given})")
    code = f"def __init__({', '.join(parameters)}):\n" + "\n".join(lines)
    exec(code, names)  # noqa: S102 -- of our own field names alone, as dataclasses themselves do
    made = names["__init__"]
    made.__qualname__, made.__doc__ = f"{cls.__qualname__}.__init__", cls.__init__.__doc__
    type.__setattr__(cls, "__init__", made)
    return cls


def _parameter(one: Field[Any], names: dict[str, Any]) -> str:
    if one.default is not MISSING:
        names[f"default_{one.name}"] = one.default
        return f"{one.name}=default_{one.name}"
    return one.name if one.default_factory is MISSING else f"{one.name}=MISSING"

"""Conditions in CEL: checked when a version is compiled, and decided as yes, no or unknown. Knows the CEL library.

A result object of the library is true whatever it holds, and an error is a result: so only a boolean that is true
counts as yes, and everything that is no boolean is unknown, with the reason.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from cel_expr_python import cel

BOOLEAN: Final = "BOOL"
ANYTHING: Final = "DYN"


class ConditionError(ValueError):
    """A condition that is no CEL expression of type bool; the text says where."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Neither yes nor no, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition. `decide` takes the values of its variables."""

    text: str
    _evaluate: Callable[[Mapping[str, Any]], Any]

    def decide(self, values: Mapping[str, Any]) -> bool | Unknown:
        """Whether it holds for these values; it stops by itself at the library's limit of steps."""
        try:
            result = self._evaluate(values)
        except RuntimeError as error:
            return Unknown(_in_one_line(error))
        if result.type().name() != BOOLEAN:
            return Unknown(_in_one_line(result.value()))
        return result.value() is True


Kinds = Mapping[str, str]
"""The variables that a condition may name, by the name of their type: string, int, double, bool, strings (a map from
string to string), limits (a map from string to number, where what is unknown is absent) or json (any JSON value)."""


def condition(text: str, kinds: Kinds) -> Condition:
    """Compile a condition over these variables.

    Raises:
        ConditionError: a syntax error, an unknown variable, types that don't fit, or no boolean.
    """
    try:
        compiled = _environment(tuple(sorted(kinds.items()))).compile(text)
    except RuntimeError as error:
        raise ConditionError(_first_line(error)) from error
    if compiled.return_type().name() not in {BOOLEAN, ANYTHING}:  # what a JSON value is turns out when it is decided
        raise ConditionError(f"it gives {compiled.return_type().name().lower()}, not true or false")

    def evaluate(values: Mapping[str, Any]) -> Any:
        return compiled.eval(data=values)

    return Condition(text, evaluate)


@cache
def _environment(kinds: tuple[tuple[str, str], ...]) -> Any:
    of_kind = {
        "string": cel.Type.STRING,
        "int": cel.Type.INT,
        "double": cel.Type.DOUBLE,
        "bool": cel.Type.BOOL,
        "strings": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
        "limits": cel.Type.Map(cel.Type.STRING, cel.Type.DOUBLE),
        "json": cel.Type.DYN,
    }
    return cel.NewEnv(variables={name: of_kind[kind] for name, kind in kinds})


def _first_line(error: Exception) -> str:
    said = str(error).removeprefix("INVALID_ARGUMENT: ERROR: <input>:").splitlines()[0]
    return f"at {said}" if said[:1].isdigit() else said


def _in_one_line(found: object) -> str:
    return " ".join(str(found).split())

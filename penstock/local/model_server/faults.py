"""What can be made to go wrong, how often, and for which model. Pure but for the seeded random numbers it is given.

In words (`--fault`, `POST /admin/faults`): `kind[:rate[:value]][@model]`, for example `429:0.05:2` (one call in
twenty is refused with `Retry-After: 2`), `slow:0.01:10@local-small`, `disconnect:0.1`. In the request header
`X-Penstock-Fault`, for that call alone: `kind[:value]`, for example `429:2` or `slow:10`; `none` exempts the call.
A scenario (`POST /admin/scenario`) is a list of scenes, each with its faults, for so many calls or seconds:
`[{"faults": ["503"], "calls": 20}, {"faults": ["slow:0.5:3"], "for_s": 10}]`. After the last one nothing goes wrong.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

Kind = Literal["429", "500", "503", "slow", "malformed", "truncated", "disconnect"]
KINDS: tuple[str, ...] = get_args(Kind)

DEFAULT_SLOW_S = 10.0


class FaultError(ValueError):
    """A fault that can't be understood."""


class Fault(BaseModel):
    """One way of failing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    rate: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the calls that it hits."""
    value: Annotated[float, Field(ge=0, le=3_600)] | None = None
    """Seconds: of delay for `slow` (10 if absent), of `Retry-After` for 429 and 503 (no such header if absent)."""
    model: str | None = None
    """Only calls for this model."""
    times: Annotated[int, Field(ge=1)] | None = None
    """It ends after this many hits."""

    @property
    def delay_s(self) -> float:
        """How long the call is held up."""
        if self.kind != "slow":
            return 0.0
        return DEFAULT_SLOW_S if self.value is None else self.value

    @property
    def retry_after(self) -> str | None:
        """The Retry-After header, in whole seconds."""
        return None if self.value is None else str(round(self.value))


class Scene(BaseModel):
    """What goes wrong for a while: for so many calls, for so many seconds, or for whichever is over first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    faults: tuple[Fault, ...]
    calls: Annotated[int, Field(ge=1)] | None = None
    for_s: Annotated[float, Field(gt=0, le=86_400)] | None = None

    @field_validator("faults", mode="before")
    @classmethod
    def _in_words(cls, value: Any) -> Any:
        return parse_all(value)

    @model_validator(mode="after")
    def _ends(self) -> "Scene":
        if self.calls is None and self.for_s is None:
            raise ValueError("a scene lasts for `calls` or `for_s`")
        return self


_SCENES: TypeAdapter[tuple[Scene, ...]] = TypeAdapter(tuple[Scene, ...])
_FAULTS: TypeAdapter[list[Fault]] = TypeAdapter(list[Fault])


def parse(words: str) -> Fault:
    """A fault from `kind[:rate[:value]][@model]`. Raises FaultError."""
    head, _, model = words.partition("@")
    kind, rate, value, *more = [*head.split(":"), "", ""]
    if len(more) > 2 or any(more):
        raise FaultError(f"fault {words!r} has too many parts; expected kind[:rate[:value]][@model]")
    return _fault({"kind": kind, "rate": rate or 1.0, "value": value or None, "model": model or None}, words)


def parse_header(words: str) -> Fault | None:
    """A fault from the header's `kind[:value]`; None for `none`. Raises FaultError."""
    if words.strip() == "none":
        return None
    kind, _, value = words.strip().partition(":")
    return _fault({"kind": kind, "value": value or None}, words)


def parse_all(wanted: Any) -> tuple[Fault, ...]:
    """Faults from JSON: a list of objects, or of words. Raises FaultError."""
    if not isinstance(wanted, list):
        raise FaultError(f"expected a list of faults, found {type(wanted).__name__}")
    try:
        return tuple(_FAULTS.validate_python([parse(item) if isinstance(item, str) else item for item in wanted]))
    except ValidationError as error:
        raise FaultError(_explained(error)) from error


def parse_scenario(wanted: Any) -> tuple[Scene, ...]:
    """Scenes from JSON. Raises FaultError."""
    try:
        return _SCENES.validate_python(wanted)
    except ValidationError as error:
        raise FaultError(_explained(error)) from error


def _fault(fields: dict[str, Any], words: str) -> Fault:
    try:
        return Fault.model_validate(fields)
    except ValidationError as error:
        raise FaultError(f"fault {words!r}: {_explained(error)}; the kinds are {', '.join(KINDS)}") from error


def _explained(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(str(step) for step in first['loc'])}: {first['msg']}, found {first['input']!r}"


@dataclass(slots=True)
class FaultPlan:
    """The faults in force, each with what is left of its times, and the scenes that are still to come."""

    random: Random
    faults: tuple[Fault, ...] = ()
    clock: Callable[[], float] = time.monotonic
    scenes: tuple[Scene, ...] = ()
    _calls: int = 0
    _since: float = 0.0

    def set(self, faults: Iterable[Fault]) -> None:
        """Replace the faults in force; a scenario ends."""
        self.faults, self.scenes = tuple(faults), ()

    def play(self, scenes: tuple[Scene, ...]) -> None:
        """Begin a scenario."""
        self.scenes = scenes
        self._begin()

    def _begin(self) -> None:
        self._calls, self._since = 0, self.clock()
        self.faults = self.scenes[0].faults if self.scenes else ()

    def _move_on(self) -> None:
        """One call more: is the scene over?"""
        while self.scenes:
            scene = self.scenes[0]
            over = scene.calls is not None and self._calls >= scene.calls
            if not over and (scene.for_s is None or self.clock() - self._since < scene.for_s):
                break
            self.scenes = self.scenes[1:]
            self._begin()
        self._calls += 1

    def draw(self, model: str, header: str | None) -> Fault | None:
        """The fault that hits this call; the header decides alone if there is one. Raises FaultError for nonsense."""
        self._move_on()
        if header is not None:
            return parse_header(header)
        for place, fault in enumerate(self.faults):
            if fault.model not in {None, model} or self.random.random() >= fault.rate:
                continue
            if fault.times is not None:
                spent = () if fault.times == 1 else (fault.model_copy(update={"times": fault.times - 1}),)
                self.faults = (*self.faults[:place], *spent, *self.faults[place + 1 :])
            return fault
        return None

"""How long each model takes to answer: a figure per model with a mild, seeded jitter, or one constant for all."""

from dataclasses import dataclass, field
from random import Random
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

JITTER = 0.15
"""Standard deviation of the logarithm."""

Milliseconds = Annotated[float, Field(ge=0, le=3_600_000)]


class LatencyError(ValueError):
    """A latency that can't be understood."""


class LatencySetting(BaseModel):
    """What to change: the latency of single models, or one constant without jitter for all (null ends it)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    constant_ms: Milliseconds | None = None
    models: dict[str, Milliseconds] = Field(default_factory=dict)


@dataclass(slots=True)
class Latency:
    """The latencies in force."""

    random: Random
    by_model_ms: dict[str, float]
    constant_ms: float | None = field(default=None)

    def set(self, wanted: Any) -> None:
        """Change them. Raises LatencyError for a model that is not there or a figure out of range."""
        try:
            setting = LatencySetting.model_validate(wanted)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise LatencyError(
                f"{'.'.join(map(str, first['loc']))}: {first['msg']}, found {first['input']!r}"
            ) from error
        strangers = setting.models.keys() - self.by_model_ms.keys()
        if strangers:
            raise LatencyError(f"no model {sorted(strangers)}; there are {sorted(self.by_model_ms)}")
        self.by_model_ms |= setting.models
        self.constant_ms = setting.constant_ms

    def draw_s(self, model: str) -> float:
        """Seconds that the next answer of this model takes."""
        if self.constant_ms is not None:
            return self.constant_ms / 1_000
        return self.by_model_ms[model] / 1_000 * self.random.lognormvariate(0.0, JITTER)

    def shown(self) -> dict[str, Any]:
        """As `set` takes them."""
        return {"constant_ms": self.constant_ms, "models": self.by_model_ms}

"""workflow.toml as frozen models: the ladder, the gate, and what the owner promises."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from processors.toml_text import Path, Settings
from schemas.job import Risk, TaskType
from schemas.stages import Tier

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Probability = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(gt=0, le=3600)]

TIERS = tuple(Tier)


class Params(Settings):
    """What is asked of the model; what is absent is left to the provider, `max_tokens` to the model's limit."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None


class Rung(Settings):
    """A step of the ladder: a variant is a prompt, a model and parameters. Absent time-outs are the provider's."""

    variant: Name
    tier: Tier
    model: str
    prompt: Name | None = None
    params: Params = Params()
    connect_timeout_s: Seconds | None = None
    total_timeout_s: Seconds | None = None

    @property
    def prompt_name(self) -> str:
        """The folder under prompts/: the variant's name unless another is given."""
        return self.prompt or self.variant


class Gate(Settings):
    """When an answer is let through, on its calibrated confidence.

    From `accept_at` it is accepted, below `climb_below` the next rung tries; in between `middle` decides. `fields` are
    the JSON Pointers whose tokens the confidence is about; none means every field of the answer.
    """

    accept_at: Probability = 0.85
    climb_below: Probability = 0.72
    middle: Literal["climb", "review"] = "climb"
    fields: tuple[Annotated[str, Field(pattern=r"^(/.*)?$")], ...] = ()


class Slo(Settings):
    """What the owner promises; `latency_ms` counts as the limit of jobs that name none."""

    latency_ms: Annotated[int, Field(gt=0)] | None = None


class WorkflowSettings(Settings):
    """workflow.toml. Everything but `task`, `owner` and one rung has a default."""

    task: TaskType
    owner: Annotated[str, Field(min_length=1)]
    ladder: Annotated[tuple[Rung, ...], Field(min_length=1)]
    risk: Risk = Risk.NORMAL
    failure_mode: Literal["closed"] = "closed"
    review_every_days: Annotated[int, Field(gt=0)] | None = None
    slo: Slo = Slo()
    gate: Gate = Gate()


def contradictions(settings: WorkflowSettings) -> Iterator[tuple[Path, str, str]]:
    """What no single key shows: the place, what was found, and the mend."""
    gate = settings.gate
    if gate.climb_below > gate.accept_at:
        yield (
            ("gate", "climb_below"),
            f"climb_below {gate.climb_below} is above accept_at {gate.accept_at}",
            "lower climb_below: an answer can't be both good enough and too weak",
        )
    seen: dict[str, int] = {}
    for i, rung in enumerate(settings.ladder):
        if rung.variant in seen:
            found = f"variant {rung.variant!r} is already rung {seen[rung.variant]}"
            yield ("ladder", i, "variant"), found, "give every rung a variant of its own"
        seen.setdefault(rung.variant, i)
        if i and TIERS.index(rung.tier) < TIERS.index(settings.ladder[i - 1].tier):
            found = f"tier {rung.tier} comes after tier {settings.ladder[i - 1].tier}"
            yield ("ladder", i, "tier"), found, "order the rungs from tier A to tier C: a climb goes up"

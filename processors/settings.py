"""workflow.toml as frozen models: the ladder, the gate, and what the owner promises."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from processors.outcome import FailureClass
from processors.toml_text import Path, Settings
from schemas.job import DataClass, Risk, TaskType
from schemas.stages import Tier

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Probability = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=3600)]

TIERS = tuple(Tier)


class Params(Settings):
    """What is asked of the model; what is absent is left to the provider, `max_tokens` to the model's limit."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None


class OnRateLimit(StrEnum):
    """What a rate limit causes where there are fallbacks: the next one is asked, or the job waits for its turn."""

    FALL_OVER = "fall_over"
    PARK = "park"


class Rung(Settings):
    """A step of the ladder: a variant is a prompt, a model and parameters. Absent time-outs are the provider's.

    `fallbacks` are the same model elsewhere, tried in order while its own provider can't be called: they serve with its
    prompt and its calibration.
    """

    variant: Name
    tier: Tier
    model: str
    prompt: Name | None = None
    params: Params = Params()
    connect_timeout_s: Seconds | None = None
    total_timeout_s: Seconds | None = None
    fallbacks: Annotated[tuple[str, ...], Field(max_length=2)] = ()
    tools: Annotated[tuple[Name, ...], Field(max_length=20)] = ()
    """What its model may have called: files of tools/."""
    on_rate_limit: OnRateLimit = OnRateLimit.FALL_OVER

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


class RoutingRule(Settings):
    """A rule of the owner's: `when` is a CEL condition; where it holds, it chooses and forbids.

    `start` is a variant or a tier to begin at; `skip` are variants that may not be used, `only` those that may.
    """

    name: Name
    when: Annotated[str, Field(min_length=1, max_length=2000)]
    start: str | None = None
    skip: tuple[Name, ...] = ()
    only: tuple[Name, ...] = ()


class Routing(Settings):
    """The owner's rules, before the default policy."""

    rules: Annotated[tuple[RoutingRule, ...], Field(max_length=50)] = ()


class FailureMode(StrEnum):
    """What happens where something could not be found out: a person decides, or a fixed answer stands in."""

    CLOSED = "closed"
    OPEN = "open"


class Failure(Settings):
    """The mode of each class of failure, by default the workflow's; and which checks an answer may do without.

    `accept_unverified` names checks, or `confidence`: where nothing but these is unknown, open mode accepts the answer
    as `accepted_unverified`.
    """

    provider: FailureMode | None = None
    policy: FailureMode | None = None
    check: FailureMode | None = None
    grade: FailureMode | None = None
    accept_unverified: tuple[Annotated[str, Field(min_length=1)], ...] = ()

    def mode_of(self, failed: FailureClass, default: FailureMode) -> FailureMode:
        """The mode of a class of failure."""
        own: FailureMode | None = getattr(self, failed.value)
        return default if own is None else own


class Fallback(Settings):
    """The answer that needs no model."""

    output: Any


class Context(Settings):
    """What happens when a job's context may not be used any more: `ask_again` asks its sender for a newer one."""

    ask_again: bool = False


class Agent(Settings):
    """How far a model may go with tools: after so many steps, or calls in all, it must answer with what it has."""

    max_steps: Annotated[int, Field(ge=1, le=20)] = 4
    max_calls: Annotated[int, Field(ge=1, le=50)] = 8


class Slo(Settings):
    """What the owner promises; `latency_ms` counts as the limit of jobs that name none."""

    latency_ms: Annotated[int, Field(gt=0)] | None = None


class WorkflowSettings(Settings):
    """workflow.toml. Everything but `task`, `owner` and one rung has a default."""

    task: TaskType
    owner: Annotated[str, Field(min_length=1)]
    ladder: Annotated[tuple[Rung, ...], Field(min_length=1)]
    risk: Risk = Risk.NORMAL
    failure_mode: FailureMode = FailureMode.CLOSED
    data_class: DataClass = DataClass.GENERAL
    """What its jobs' data is; a job may say that its own is personal, not that it is less."""
    detect_language: bool = False
    """Whether the language of an input is found out where the job does not name it: the segment `language`."""
    show_unvalidated: bool | None = None
    """Whether a user may read an answer while it is being written, before any check; by default unless risk is high."""
    amend_times: Annotated[int, Field(ge=0, le=2)] = 1
    """How often in a round an answer that does not fit the schema is asked for again, with what is wrong named."""
    review_every_days: Annotated[int, Field(gt=0)] | None = None
    slo: Slo = Slo()
    gate: Gate = Gate()
    routing: Routing = Routing()
    failure: Failure = Failure()
    context: Context = Context()
    agent: Agent = Agent()
    fallback: Fallback | None = None


def contradictions(settings: WorkflowSettings) -> Iterator[tuple[Path, str, str]]:
    """What no single key shows: the place, what was found, and the mend."""
    gate = settings.gate
    if gate.climb_below > gate.accept_at:
        yield (
            ("gate", "climb_below"),
            f"climb_below {gate.climb_below} is above accept_at {gate.accept_at}",
            "lower climb_below: an answer can't be both good enough and too weak",
        )
    yield from _rule_contradictions(settings)
    yield from _failure_contradictions(settings)
    seen: dict[str, int] = {}
    for i, rung in enumerate(settings.ladder):
        if rung.variant in seen:
            found = f"variant {rung.variant!r} is already rung {seen[rung.variant]}"
            yield ("ladder", i, "variant"), found, "give every rung a variant of its own"
        seen.setdefault(rung.variant, i)
        if i and TIERS.index(rung.tier) < TIERS.index(settings.ladder[i - 1].tier):
            found = f"tier {rung.tier} comes after tier {settings.ladder[i - 1].tier}"
            yield ("ladder", i, "tier"), found, "order the rungs from tier A to tier C: a climb goes up"


def _rule_contradictions(settings: WorkflowSettings) -> Iterator[tuple[Path, str, str]]:
    variants = [rung.variant for rung in settings.ladder]
    starts = [*variants, *TIERS]
    names: set[str] = set()
    for i, rule in enumerate(settings.routing.rules):
        place: Path = ("routing", "rules", i)
        if rule.name in names:
            yield (*place, "name"), f"there are two rules {rule.name!r}", "give every rule a name of its own"
        names.add(rule.name)
        if rule.start is not None and rule.start not in starts:
            yield (*place, "start"), f"{rule.start!r} is no variant and no tier", f"one of {', '.join(starts)}"
        for name in (*rule.skip, *rule.only):
            if name not in variants:
                yield place, f"{name!r} is no variant of the ladder", f"one of {', '.join(variants)}"
        if set(variants) <= set(rule.skip) | (set(variants) - set(rule.only) if rule.only else set()):
            yield place, "it leaves no rung of the ladder", "leave one: where it held, nothing could be chosen"
        if rule.start is None and not rule.skip and not rule.only:
            yield place, "it does nothing", "add start, skip or only"


def _failure_contradictions(settings: WorkflowSettings) -> Iterator[tuple[Path, str, str]]:
    modes = {one: settings.failure.mode_of(one, settings.failure_mode) for one in FailureClass}
    opened = [one.value for one, mode in modes.items() if mode is FailureMode.OPEN]
    if opened and settings.fallback is None:
        found = f"{', '.join(opened)} would fail open, and there is no answer to give"
        yield ("failure_mode",), found, "add [fallback] with output = …, or close it"
    if settings.risk is Risk.HIGH and settings.fallback is None:
        yield ("risk",), "a workflow of high risk has no [fallback]", "add the answer that is safe without a model"

"""An owner's routing rules: conditions that choose where a job starts and which variants it may not use. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from processors.policy.conditions import Condition, ConditionError, Kinds, Unknown, condition
from processors.settings import RoutingRule, Rung
from schemas.job import DataClass, Risk, TaskType

VARIABLES: Final[Kinds] = {
    "task": "string",
    "risk": "string",
    "tenant": "string",
    "size": "int",
    "rung": "int",
    "hour": "int",
    "weekday": "int",
    "segments": "strings",
    "limits": "limits",
    "data_class": "string",
    "language": "string",
    "seen_ms": "limits",
}
"""What a rule may ask for. `size` is UTF-8 bytes of what the job adds to a prompt; `hour` (0 to 23) and `weekday` (1 is
Monday) are of when the job was created, in UTC; `limits` has latency_ms and cost_left_usd where the job has them;
`language` is a BCP 47 tag; `seen_ms` has, by variant, how fast its answers came lately."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, compiled."""

    name: str
    when: Condition
    start: str | None
    skip: frozenset[str]
    only: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What rules may ask about one job."""

    task: TaskType
    risk: Risk
    tenant: str
    size: int
    rung: int
    created_at: datetime
    segments: Mapping[str, str]
    latency_ms: int | None
    cost_left_usd: Decimal | None
    data: DataClass
    language: str
    seen_ms: Mapping[str, float]

    def values(self) -> dict[str, Any]:
        """The variables' values; what is unknown is absent from `limits`."""
        limits = {"latency_ms": self.latency_ms, "cost_left_usd": self.cost_left_usd}
        return {
            "task": self.task.value,
            "risk": self.risk.value,
            "tenant": self.tenant,
            "size": self.size,
            "rung": self.rung,
            "hour": self.created_at.hour,
            "weekday": self.created_at.isoweekday(),
            "segments": dict(self.segments),
            "limits": {name: float(value) for name, value in limits.items() if value is not None},
            "data_class": self.data.value,
            "language": self.language,
            "seen_ms": dict(self.seen_ms),
        }


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the rules say of a job: where it starts, which variants are closed and why, what could not be decided."""

    start: str | None = None
    start_because: str = ""
    closed: Mapping[str, str] = field(default_factory=dict)
    unknown: str = ""


NO_RULING: Final = Ruling()


def compile_rules(rules: Sequence[RoutingRule]) -> Iterator[Rule | tuple[int, str]]:
    """The rules ready to run; for one that is none, its place and what is wrong."""
    for place, rule in enumerate(rules):
        try:
            when = condition(rule.when, VARIABLES)
        except ConditionError as error:
            yield place, str(error)
        else:
            only = frozenset(rule.only) if rule.only else None
            yield Rule(rule.name, when, rule.start, frozenset(rule.skip), only)


def weigh(rules: Sequence[Rule], ladder: Sequence[Rung], asked: Asked) -> Ruling:
    """What the rules say, in their order: the first `start` counts, and every `skip` and `only`."""
    if not rules:
        return NO_RULING
    values, start, because = asked.values(), None, ""
    closed: dict[str, str] = {}
    for rule in rules:
        holds = rule.when.decide(values)
        if isinstance(holds, Unknown):
            return Ruling(unknown=f"rule {rule.name} can't be decided: {holds.reason}")
        if not holds:
            continue
        if start is None and rule.start is not None:
            start, because = rule.start, f"rule {rule.name} starts at {rule.start}"
        for rung in ladder:
            if rung.variant in rule.skip or (rule.only is not None and rung.variant not in rule.only):
                closed.setdefault(rung.variant, f"rule {rule.name} does not permit it")
    return Ruling(start, because, closed)

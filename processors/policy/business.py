"""Business rules: an owner's decisions over what was asked and what the model proposes. Pure.

The first rule that holds acts: it sets fields of the answer, denies the answer, or hands it to a person. So the model
proposes, and rules that anybody can read decide.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import jiter
import orjson
from pydantic import Field, field_validator, model_validator

from processors.policy.conditions import Condition, ConditionError, Kinds, Unknown, condition
from processors.settings import Name
from processors.toml_text import Settings
from schemas.job import Job

ASKED: Final[Kinds] = {
    "input": "json",
    "output": "json",
    "chunks": "json",
    "segments": "strings",
    "tenant": "string",
}
"""What a rule may ask for: input and answer as JSON values, the ids of the chunks that the job brought,
and whose job it is."""


class BusinessRule(Settings):
    """One row of rules.toml: `when` is a CEL condition; where it holds, exactly one of the three others happens."""

    name: Name
    when: Annotated[str, Field(min_length=1, max_length=2000)]
    set: dict[str, Any] | None = None
    deny: Annotated[str, Field(min_length=1)] | None = None
    escalate: Annotated[str, Field(min_length=1)] | None = None

    @field_validator("set", mode="before")
    @classmethod
    def _as_json(cls, value: Any) -> Any:
        """TOML's numbers with a point are read as decimals; an answer's are doubles."""
        return orjson.loads(orjson.dumps(value, default=float))

    @model_validator(mode="after")
    def _does_one_thing(self) -> "BusinessRule":
        if sum(one is not None for one in (self.set, self.deny, self.escalate)) != 1:
            raise ValueError("a rule does exactly one of set, deny, escalate")
        return self


class BusinessRules(Settings):
    """rules.toml."""

    rules: Annotated[tuple[BusinessRule, ...], Field(max_length=100)] = ()


@dataclass(frozen=True, slots=True)
class Ruled:
    """What the rules say of an answer: its value after them, and which rule acted; `unknown` says why none could."""

    value: Any
    rule: BusinessRule | None = None
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A rule with its condition, ready to run."""

    rule: BusinessRule
    when: Condition


@dataclass(frozen=True, slots=True)
class Rulebook:
    """The rules of a version in their order."""

    rules: tuple[Compiled, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is a rule."""
        return bool(self.rules)

    def rule(self, value: Any, job: Job, segments: Mapping[str, str], tenant: str) -> Ruled:
        """What the first rule that holds does with an answer; one that can't be decided stops at once."""
        values = {
            "input": jiter.from_json(job.input.encode()),
            "output": value,
            "chunks": [chunk.id for chunk in job.context.chunks] if job.context else [],
            "segments": dict(segments),
            "tenant": tenant,
        }
        for compiled in self.rules:
            rule, holds = compiled.rule, compiled.when.decide(values)
            if isinstance(holds, Unknown):
                return Ruled(value, rule, unknown=f"rule {rule.name} can't be decided: {holds.reason}")
            if holds:
                return Ruled({**value, **rule.set} if rule.set else value, rule)
        return Ruled(value)


def compile_business(rules: BusinessRules) -> Iterator[Compiled | tuple[int, str]]:
    """The rules ready to run; for one whose condition is none, its place and what is wrong."""
    for place, rule in enumerate(rules.rules):
        try:
            yield Compiled(rule, condition(rule.when, ASKED))
        except ConditionError as error:
            yield place, str(error)


NO_RULES: Final = Rulebook()

"""Outcomes: the five things that a stage can say about a job, and the facts it learned on the way."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeAlias, TypeVar

from schemas.base import JsonText, Record
from schemas.envelope import Envelope
from schemas.quick import quick
from schemas.stages import Attempt, Decision, Finding, GateDecision, Status, ToolUse, Transition

In = TypeVar("In", bound=Record)
Out = TypeVar("Out", bound=Record)
Product = TypeVar("Product", bound=Record, covariant=True)


class FailureClass(StrEnum):
    """What could not be found out about a job: no model answers; a rule, a check or a grade is unknown."""

    PROVIDER = "provider"
    POLICY = "policy"
    CHECK = "check"
    GRADE = "grade"


NOTHING = JsonText("{}")


@quick
@dataclass(frozen=True, slots=True)
class Facts:
    """What a stage learned about a job: it becomes trace events and moves the job's totals.

    `decided_on` is what the decision rests on, as JSON. `news` are changes of the targets that were called.
    """

    decision: Decision | None = None
    decided_on: JsonText = NOTHING
    attempts: tuple[Attempt, ...] = ()
    findings: tuple[Finding, ...] = ()
    gate: GateDecision | None = None
    news: tuple[Transition, ...] = ()
    tool_uses: tuple[ToolUse, ...] = ()


NO_FACTS = Facts()


@quick
@dataclass(frozen=True, slots=True)
class Pass(Generic[Product]):
    """Go on to the next stage with this product; `head` holds fields of the head that the stage settled."""

    product: Product
    facts: Facts = NO_FACTS
    head: dict[str, object] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """Not now: come back after so many seconds. From inference this is another round through routing."""

    reason: str
    after_s: float = 0.0
    facts: Facts = NO_FACTS


@dataclass(frozen=True, slots=True)
class Climb:
    """Try the next rung of the ladder."""

    reason: str
    facts: Facts = NO_FACTS


@dataclass(frozen=True, slots=True)
class Escalate:
    """A person must decide; `proposed` is the best answer so far, `confidence` how far it is to be trusted.

    `failed` says that this is so because something could not be found out, and `doubted` what of the answer: the checks
    that are unknown, or `confidence`.
    """

    reason: str
    proposed: JsonText | None = None
    confidence: float | None = None
    facts: Facts = NO_FACTS
    failed: FailureClass | None = None
    doubted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Reject:
    """The job ends here with this terminal status; `ask_again`: its sender is asked for a newer context."""

    status: Status
    reason: str
    output: JsonText | None = None
    facts: Facts = NO_FACTS
    ask_again: bool = False


Outcome: TypeAlias = Pass[Product] | Retry | Climb | Escalate | Reject
Processor: TypeAlias = Callable[[Envelope[In]], Awaitable[Outcome[Out]]]

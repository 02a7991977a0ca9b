"""Routing's decision: which rung a job is tried on, with the reasons in order. Pure: same inputs, same decision.

The default policy gives the tier to start at, first match wins:
  risk high                                                    C
  classify, extract or rewrite within 1,200 ms                 A
  summarize, qa or route                                       B
  anything else                                                A
An owner's rules come before it and may say where to start and which rungs are closed; unless the risk is high, a
workflow's difficulty prior takes its place.
Then the ladder's order: the first rung from there on that stands open for the job's data, that the job can still pay
for and that was lately seen to answer in time. Where none from there on is fast enough, one below may be, unless the
risk is high or a rule says where to start. Where none is at all, the first that stands open serves: late, not never.

What decided against another rung is a constraint; the decision says what would have been chosen without each.
"""

from dataclasses import dataclass, field, replace
from decimal import Decimal

from processors.control import ControlState
from processors.models import Models
from processors.policy.constraints import Constraint
from processors.policy.ladder import why_closed
from processors.policy.money import money_left, too_dear, worst_case
from processors.policy.request import RouteRequest
from processors.policy.rules import NO_RULING, Asked, Ruling, weigh
from processors.settings import TIERS, Rung
from processors.workflow import Workflow
from schemas.job import DataClass, Risk, TaskType
from schemas.stages import Decision, Tier

FAST_MS = 1200
NOTHING = "none"
"""What stands for a variant where no rung is permitted."""
_SHORT_TASKS = frozenset({TaskType.CLASSIFY, TaskType.EXTRACT, TaskType.REWRITE})
_BROAD_TASKS = frozenset({TaskType.SUMMARIZE, TaskType.QA, TaskType.ROUTE})


@dataclass(frozen=True, slots=True)
class Choice:
    """The rung, by its place on the ladder, and the decision to record."""

    rung: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class NoRung:
    """Why no rung is permitted; `over_budget`: only money stands in the way; `undecided`: a rule is unknown."""

    reason: str
    over_budget: bool
    undecided: bool = False


def starting_tier(risk: Risk, task: TaskType, max_latency_ms: int | None) -> tuple[Tier, str]:
    """The tier that the default policy starts at, and why."""
    if risk is Risk.HIGH:
        return Tier.C, "risk high starts at tier C"
    if task in _SHORT_TASKS and max_latency_ms is not None and max_latency_ms <= FAST_MS:
        return Tier.A, f"{task} within {max_latency_ms} ms starts at tier A"
    if task in _BROAD_TASKS:
        return Tier.B, f"{task} starts at tier B"
    return Tier.A, f"{task} starts at tier A"


def starting_rung(ladder: tuple[Rung, ...], tier: Tier) -> tuple[int, str]:
    """The first rung of this tier or a higher one; the last rung if the ladder does not reach so high."""
    for i, rung in enumerate(ladder):
        if TIERS.index(rung.tier) >= TIERS.index(tier):
            return i, ""
    return len(ladder) - 1, f"the ladder ends below tier {tier}: its last rung serves"


def route(request: RouteRequest, workflow: Workflow, models: Models, control: ControlState) -> Choice | NoRung:
    """The rung to try, or why there is none."""
    walk = _Walk(request, workflow, models, control)
    found = walk.choose()
    if not walk.met:
        return found
    without: dict[str, str] = {}
    for constraint in Constraint:
        if constraint in walk.met:
            other = _variant(_Walk(request, workflow, models, control, lifted=constraint).choose())
            if other != _variant(found):
                without[constraint.value] = other
    if not without:
        return found
    if isinstance(found, Choice):
        return replace(found, decision=found.decision.but(without=without))
    said = ", ".join(f"without {constraint} it would be {variant}" for constraint, variant in without.items())
    return replace(found, reason=f"{found.reason}; {said}")


def _variant(found: Choice | NoRung) -> str:
    return NOTHING if isinstance(found, NoRung) else found.decision.variant


@dataclass
class _Walk:
    """One walk along the ladder, with at most one constraint `lifted`; those that counted are in `met`."""

    request: RouteRequest
    workflow: Workflow
    models: Models
    control: ControlState
    lifted: Constraint | None = None
    met: set[Constraint] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.ladder = self.workflow.settings.ladder
        self.left = None if self.lifted is Constraint.MONEY else money_left(self.request, self.workflow, self.models)
        self.within_ms = None if self.lifted is Constraint.LATENCY else self.request.max_latency_ms
        self.risk = Risk.NORMAL if self.lifted is Constraint.RISK else self.request.risk
        self.ruling = NO_RULING
        self.skipped: list[str] = []

    def choose(self) -> Choice | NoRung:
        """The first rung that nothing is in the way of."""
        if self.workflow.rules and self.lifted is not Constraint.RULES:
            self.ruling = weigh(self.workflow.rules, self.ladder, self._asked())
        if self.ruling.unknown:
            self.met.add(Constraint.RULES)
            return NoRung(self.ruling.unknown, over_budget=False, undecided=True)
        first, reasons = self._first()
        obstacles: list[Constraint] = []
        for i in range(first, len(self.ladder)):
            if (obstacle := self._obstacle(i)) is None:
                return self._choice(i, [*reasons, f"rung {i} {self.ladder[i].variant} is the first that stands open"])
            obstacles.append(obstacle)
        if not obstacles:
            return NoRung(f"the ladder has no rung {first}: it ends at {first - 1}", over_budget=False)
        if Constraint.LATENCY in obstacles:
            return self._too_slow(first, first + obstacles.index(Constraint.LATENCY), reasons)
        return NoRung("; ".join(self.skipped), over_budget=set(obstacles) == {Constraint.MONEY})

    def _too_slow(self, first: int, otherwise: int, reasons: list[str]) -> Choice:
        """A rung below the first that answers in time; `otherwise` where there is none, or where none may be taken."""
        if self.risk is not Risk.HIGH and self.ruling.start is None:
            for i in range(first - 1, self.request.rung - 1, -1):
                if self._obstacle(i) is None:
                    return self._choice(i, [*reasons, f"rung {i} {self.ladder[i].variant} below answers in time"])
        variant = self.ladder[otherwise].variant
        self.skipped = [one for one in self.skipped if not one.startswith(f"rung {otherwise} ")]
        said = f"no rung is seen to answer within {self.within_ms} ms: rung {otherwise} {variant} serves"
        return self._choice(otherwise, [*reasons, said])

    def _first(self) -> tuple[int, list[str]]:
        """The first rung to look at, and the reasons for it in order."""
        request, workflow, ruling = self.request, self.workflow, self.ruling
        variants = [rung.variant for rung in self.ladder]
        if ruling.start in variants:
            first, reasons = variants.index(ruling.start), [ruling.start_because]
        elif ruling.start is None and workflow.prior and request.gains and self.risk is not Risk.HIGH:
            first = workflow.prior.start(request.gains)
            gains = ", ".join(f"{gain:+.3f} for {variants[i]}" for i, gain in enumerate(request.gains, 1))
            reasons = [f"the difficulty prior starts at {variants[first]}: expected gain {gains}"]
        else:
            tier, reason = starting_tier(self.risk, request.task, self.within_ms)
            if ruling.start is not None:
                tier, reason = Tier(ruling.start), ruling.start_because
            first, fallback = starting_rung(self.ladder, tier)
            reasons = [reason, *([fallback] if fallback else [])]
        self._note_what_started(ruling)
        if request.rung > first:
            first = request.rung
            reasons.append(f"the job stands at rung {request.rung}")
        return first, reasons

    def _note_what_started(self, ruling: Ruling) -> None:
        if ruling.start is not None:
            self.met.add(Constraint.RULES)
        elif self.risk is Risk.HIGH:
            self.met.add(Constraint.RISK)

    def _obstacle(self, i: int) -> Constraint | None:
        """What is in the way of this rung; it is noted, and why."""
        found = self._why_not(i)
        if found is None:
            return None
        constraint, why = found
        self.met.add(constraint)
        self.skipped.append(f"rung {i} {self.ladder[i].variant}: {why}")
        return constraint

    def _why_not(self, i: int) -> tuple[Constraint, str] | None:
        rung = self.ladder[i]
        if why := self.ruling.closed.get(rung.variant):
            return Constraint.RULES, why
        control = ControlState() if self.lifted is Constraint.SWITCHES else self.control
        data = DataClass.GENERAL if self.lifted is Constraint.DATA else self.request.data
        if closed := why_closed(rung, self.models, control, data):
            return closed
        if self.left is not None:
            worst = worst_case(self.request, rung, self.models, self.workflow)
            if why := too_dear(self.request, worst, self.left):
                return Constraint.MONEY, why
        seen_ms = self.request.seen_ms.get(rung.variant)
        if self.within_ms is None or seen_ms is None or seen_ms <= self.within_ms:
            return None
        said = f"95 % of its answers came within {seen_ms:.0f} ms, and {self.within_ms} ms are allowed"
        return Constraint.LATENCY, said

    def _choice(self, i: int, reasons: list[str]) -> Choice:
        rung = self.ladder[i]
        decision = Decision.made(
            variant=rung.variant,
            tier=rung.tier,
            provider=self.models.models[rung.model].provider,
            model=rung.model,
            reasons=tuple(reasons),
            skipped=tuple(self.skipped),
            without={},
        )
        return Choice(i, decision)

    def _asked(self) -> Asked:
        request = self.request
        return Asked(
            task=request.task,
            risk=request.risk,
            tenant=request.tenant,
            size=request.size,
            rung=request.rung,
            created_at=request.created_at,
            segments=request.segments,
            latency_ms=self.within_ms,
            cost_left_usd=self.left if isinstance(self.left, Decimal) else None,
            data=request.data,
            language=request.language,
            seen_ms=request.seen_ms,
        )

"""Routing's decision: which rung a job is tried on, with the reasons in order. Pure: same inputs, same decision.

The default policy gives the tier to start at, first match wins:
  risk high                                                    C
  classify, extract or rewrite within 1,200 ms                 A
  summarize, qa or route                                       B
  anything else                                                A
An owner's rules come before it and may say where to start and which rungs are closed; unless the risk is high, a
workflow's difficulty prior takes its place.
Then the ladder's order: the first rung from there on that stands open and that the job can still pay for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from processors.control import ControlState
from processors.models import Models
from processors.policy.ladder import shut
from processors.policy.rules import NO_RULING, Asked, Ruling, weigh
from processors.pricing import worst_cost
from processors.settings import TIERS, Rung
from processors.workflow import Workflow
from schemas.envelope import NOTHING_SPENT, Spent
from schemas.job import Risk, TaskType
from schemas.stages import Decision, Tier

FAST_MS = 1200
_SHORT_TASKS = frozenset({TaskType.CLASSIFY, TaskType.EXTRACT, TaskType.REWRITE})
_BROAD_TASKS = frozenset({TaskType.SUMMARIZE, TaskType.QA, TaskType.ROUTE})
_EPOCH = datetime.fromtimestamp(0, UTC)
_BYTES_PER_TOKEN = 2
"""At least so many UTF-8 bytes make a token: a bound, not a guess."""


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """What the decision rests on: the job's limits, where on the ladder it stands, what it has spent (US dollars)."""

    task: TaskType
    risk: Risk
    size: int
    rung: int = 0
    max_latency_ms: int | None = None
    max_cost_usd: Decimal | None = None
    spent: Spent = NOTHING_SPENT
    tenant: str = ""
    segments: Mapping[str, str] = field(default_factory=dict)
    created_at: datetime = _EPOCH
    gains: tuple[float, ...] = ()
    """What the workflow's difficulty prior promises of each rung after the first; nothing where there is none."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The rung, by its place on the ladder, and the decision to record. `worst_usd` is null when no price is known."""

    rung: int
    decision: Decision
    worst_usd: Decimal | None


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
    ladder = workflow.settings.ladder
    left = money_left(request, workflow, models)
    ruling = weigh(workflow.rules, ladder, _asked(request, left)) if workflow.rules else NO_RULING
    if ruling.unknown:
        return NoRung(ruling.unknown, over_budget=False, undecided=True)
    first, reasons = _first(request, workflow, ruling)
    skipped: list[str] = []
    dear = 0
    for i, rung in enumerate(ladder[first:], first):
        closed = ruling.closed.get(rung.variant) or shut(rung, models, control)
        worst = None if closed else worst_case(request, rung, models, workflow)
        costly = None if closed else _too_dear(request, worst, left)
        if closed or costly:
            dear += closed is None
            skipped.append(f"rung {i} {rung.variant}: {closed or costly}")
            continue
        reasons.append(f"rung {i} {rung.variant} is the first that stands open")
        return Choice(i, _decision(rung, models, reasons, skipped), worst)
    if not skipped:
        return NoRung(f"the ladder has no rung {first}: it ends at {len(ladder) - 1}", over_budget=False)
    return NoRung("; ".join(skipped), over_budget=dear == len(skipped))


def _asked(request: RouteRequest, left: Decimal | str | None) -> Asked:
    return Asked(
        task=request.task,
        risk=request.risk,
        tenant=request.tenant,
        size=request.size,
        rung=request.rung,
        created_at=request.created_at,
        segments=request.segments,
        latency_ms=request.max_latency_ms,
        cost_left_usd=left if isinstance(left, Decimal) else None,
    )


def _first(request: RouteRequest, workflow: Workflow, ruling: Ruling) -> tuple[int, list[str]]:
    """The first rung to look at, and the reasons for it in order."""
    ladder = workflow.settings.ladder
    variants = [rung.variant for rung in ladder]
    if ruling.start in variants:
        first, reasons = variants.index(ruling.start), [ruling.start_because]
    elif ruling.start is None and workflow.prior and request.gains and request.risk is not Risk.HIGH:
        first = workflow.prior.start(request.gains)
        gains = ", ".join(f"{gain:+.3f} for {variants[i]}" for i, gain in enumerate(request.gains, 1))
        reasons = [f"the difficulty prior starts at {variants[first]}: expected gain {gains}"]
    else:
        tier, reason = starting_tier(request.risk, request.task, request.max_latency_ms)
        if ruling.start is not None:
            tier, reason = Tier(ruling.start), ruling.start_because
        first, fallback = starting_rung(ladder, tier)
        reasons = [reason, *([fallback] if fallback else [])]
    if request.rung > first:
        first = request.rung
        reasons.append(f"the job stands at rung {request.rung}")
    return first, reasons


def _decision(rung: Rung, models: Models, reasons: list[str], skipped: list[str]) -> Decision:
    return Decision.made(
        variant=rung.variant,
        tier=rung.tier,
        provider=models.models[rung.model].provider,
        model=rung.model,
        reasons=tuple(reasons),
        skipped=tuple(skipped),
    )


def worst_case(request: RouteRequest, rung: Rung, models: Models, workflow: Workflow) -> Decimal | None:
    """The most that one call at this rung can cost for this job, at its fallbacks too; null when a price is unknown."""
    size = request.size + workflow.prompt(rung).size + len(workflow.prompt(rung).output_schema)
    worst = []
    for name in (rung.model, *(one for one in rung.fallbacks if one in models.models)):
        model = models.models[name]
        written = rung.params.max_tokens or model.max_output_tokens
        provider = models.providers[model.provider]
        worst.append(worst_cost(provider, model, -(-size // _BYTES_PER_TOKEN), written, request.created_at))
    known = [amount for amount in worst if amount is not None]
    return max(known) if len(known) == len(worst) else None


def money_left(request: RouteRequest, workflow: Workflow, models: Models) -> Decimal | str | None:
    """What the job may still spend; null is as much as it takes, a sentence says why nobody knows.

    An earlier attempt whose cost nobody knows counts as the dearest call that the rungs so far could make.
    """
    if request.max_cost_usd is None:
        return None
    left = request.max_cost_usd - request.spent.cost_usd
    if not request.spent.unpriced:
        return left
    tried = [rung for rung in workflow.settings.ladder[: request.rung + 1] if rung.model in models.models]
    worst = [worst_case(request, rung, models, workflow) for rung in tried]
    known = [amount for amount in worst if amount is not None]
    if not known or len(known) < len(worst):
        return f"what is left of {request.max_cost_usd} USD is unknown: an earlier attempt has no known cost"
    return left - request.spent.unpriced * max(known)


def _too_dear(request: RouteRequest, worst: Decimal | None, left: Decimal | str | None) -> str | None:
    if left is None or isinstance(left, str):
        return left
    if worst is None:
        return f"its price is unknown, and the job may cost at most {request.max_cost_usd} USD"
    if worst > left:
        return f"it could cost {worst:f} USD and {max(left, Decimal(0)):f} of {request.max_cost_usd} USD is left"
    return None

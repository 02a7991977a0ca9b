"""What a rung could cost a job, and what the job may still spend. Pure; US dollars."""

from decimal import Decimal

from processors.models import Models
from processors.policy.request import RouteRequest
from processors.pricing import worst_cost
from processors.settings import Rung
from processors.workflow import Workflow

_BYTES_PER_TOKEN = 2
"""At least so many UTF-8 bytes make a token: a bound, not a guess."""


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


def too_dear(request: RouteRequest, worst: Decimal | None, left: Decimal | str | None) -> str | None:
    """Why a call that costs so much at worst is too dear for the job; nothing if it is not."""
    if left is None or isinstance(left, str):
        return left
    if worst is None:
        return f"its price is unknown, and the job may cost at most {request.max_cost_usd} USD"
    if worst > left:
        return f"it could cost {worst:f} USD and {max(left, Decimal(0)):f} of {request.max_cost_usd} USD is left"
    return None

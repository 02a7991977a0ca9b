"""The record of one attempt: what was asked, what came, what it used and cost, or probably cost."""

from datetime import datetime
from decimal import Decimal

from processors.models import Model, ProviderSettings
from processors.pricing import Cost, cost, worst_cost
from processors.providers.port import Answered, CompletionRequest, Exchange, Failure
from schemas.stages import Attempt, Usage

BYTES_PER_TOKEN = 4
"""Of English and of JSON it is 3.3 to 5.6 (o200k); a request's own JSON makes it more."""
_NOTHING_USED = Usage(input_tokens=0, output_tokens=0)


def attempt_of(
    answered: Answered,
    request: CompletionRequest,
    provider: ProviderSettings,
    prompt_sha256: str,
    started: datetime,
    ms: float,
) -> Attempt:
    """The record of one attempt that began at `started` and took so many milliseconds.

    A request that reached no model used nothing and costs nothing; what may have run and told no usage is unknown.
    """
    exchange, model = answered.exchange, request.model
    failure = answered if isinstance(answered, Failure) else None
    usage = exchange.usage if failure is None or failure.may_have_run else _NOTHING_USED
    costs = Cost(Decimal(0)) if usage is _NOTHING_USED else cost(usage, provider, model, started)
    return Attempt.made(
        attempt_id=request.attempt_id,
        n=int(request.attempt_id.rpartition("/")[2]),
        provider=model.provider,
        model_asked=model.id,
        model_answered=exchange.model,
        prompt_sha256=prompt_sha256,
        request=exchange.request,
        response=exchange.response,
        http_status=exchange.http_status,
        finish_reason=exchange.finish_reason,
        error_class=failure and failure.error_class,
        error=failure and failure.error,
        usage=usage,
        cost_usd=costs.usd,
        cost_unknown_because=costs.unknown_because,
        cost_source=costs.source,
        estimated_usd=None if costs.usd is not None else estimate(exchange, provider, model, started),
        queue_ms=exchange.queue_ms,
        first_token_ms=exchange.first_token_ms,
        sent=failure is None or failure.may_have_run or exchange.http_status is not None,
        started_at=started,
        total_ms=ms,
        provider_request_id=exchange.provider_request_id,
        limits=exchange.limits,
    )


def estimate(exchange: Exchange, provider: ProviderSettings, model: Model, at: datetime) -> Decimal | None:
    """What a call probably cost that reported no usage, from how long its texts are; in US dollars."""
    lengths = (len((text or "").encode("utf-8", "replace")) for text in (exchange.request, exchange.response))
    read, written = (-(-length // BYTES_PER_TOKEN) for length in lengths)
    return worst_cost(provider, model, read, written, at)

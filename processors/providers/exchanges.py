"""What came of a call, for whoever asked for an answer: a reply that can be used, or a failure. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from processors.models import Dialect
from processors.providers.answers import Completion, Ended, ProviderFailure
from processors.providers.errors import BY_BREAK, Break, ErrorClass
from processors.providers.parsing import MAX_ERROR, parse
from processors.providers.port import ANSWER_TOOL, Answered, Exchange, Failure, Reply
from schemas.quick import quick


@quick
@dataclass(frozen=True, slots=True)
class RawResponse:
    """What came back, unread. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@quick
@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds: waited for a slot, and from sending to the first piece of the answer."""

    queue_ms: float = 0.0
    first_token_ms: float | None = None


NO_TIMING: Final = Timing()


def answered(dialect: Dialect, request: str, raw: RawResponse, *, stream: bool, timing: Timing = NO_TIMING) -> Answered:
    """The reply or the failure that a response is."""
    found = parse(dialect, raw.status, raw.headers, raw.body, stream=stream)
    exchange = Exchange(
        request=request,
        response=raw.body.decode("utf-8", "replace"),
        http_status=raw.status,
        model=found.model,
        finish_reason=found.finish_reason if isinstance(found, Completion) else None,
        usage=found.usage,
        provider_request_id=found.request_id,
        limits=found.limits,
        queue_ms=timing.queue_ms,
        first_token_ms=timing.first_token_ms,
    )
    if isinstance(found, ProviderFailure):
        return Failure(exchange, found.error_class, found.error, found.retry_after_s, found.may_have_run)
    return _usable(exchange, found)


def _usable(exchange: Exchange, found: Completion) -> Answered:
    """The reply that a completion is, or why it can't be used as one."""
    if found.ended is Ended.REFUSED:
        said = f"the model refused: {found.refusal or found.finish_reason}"
        return Failure(exchange, ErrorClass.CONTENT_REFUSED, said[:MAX_ERROR])
    if found.ended is Ended.LENGTH:
        return Failure(exchange, ErrorClass.TRUNCATED, "the answer was cut off at the limit of output tokens")
    by_tool = next((call.arguments for call in found.tool_calls if call.name == ANSWER_TOOL), None)
    if by_tool is not None:
        beside = tuple(call for call in found.tool_calls if call.name != ANSWER_TOOL)
        return Reply(exchange, by_tool, tool_calls=beside)
    if not found.text and not found.tool_calls:
        said = f"the answer holds no text (finish_reason {found.finish_reason!r})"
        return Failure(exchange, ErrorClass.RETRYABLE_ELSEWHERE, said)
    return Reply(exchange, found.text, found.logprobs.tokens, found.logprobs.values, found.tool_calls)


def broken(request: str, kind: Break, said: str, timing: Timing = NO_TIMING, partial: str | None = None) -> Failure:
    """The failure of a call that ended without a response that can be read; `partial` is what had come of one."""
    error_class, ran = BY_BREAK[kind]
    exchange = Exchange(request, partial, queue_ms=timing.queue_ms, first_token_ms=timing.first_token_ms)
    return Failure(exchange, error_class, said[:MAX_ERROR], may_have_run=ran, attempted=kind is not Break.NO_SLOT)

"""What was called and what it said, as trace rows: attempts at models, tools, and the texts of both."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from schemas.base import sha256_hex
from schemas.stages import Attempt, Decision, ToolUse
from schemas.trace import AttemptEvent, Event, PayloadEvent, ToolCallEvent

MAX_TEXT = 8 * 1024 * 1024
"""Bytes of a text that are kept: a row must fit into a record of `traces`."""


def attempt_rows(shared: dict[str, Any], attempt: Attempt, decision: Decision) -> Iterator[Event]:
    """The row of an attempt, and its texts."""
    request = text("request", attempt.request, attempt.started_at)
    yield request
    response = None
    if attempt.response is not None:
        response = text("response", attempt.response, attempt.started_at)
        yield response
    yield AttemptEvent.of(
        {
            **shared,
            "event_id": f"{shared['event_id']}attempt-{attempt.n}",
            "attempt_id": attempt.attempt_id,
            "n": attempt.n,
            "variant": decision.variant,
            "tier": decision.tier.value,
            "gen_ai_provider_name": attempt.provider,
            "gen_ai_request_model": attempt.model_asked,
            "gen_ai_response_model": attempt.model_answered,
            "gen_ai_response_finish_reason": attempt.finish_reason,
            "gen_ai_usage_input_tokens": attempt.usage.input_tokens,
            "gen_ai_usage_output_tokens": attempt.usage.output_tokens,
            "gen_ai_usage_cached_tokens": attempt.usage.cache_read_tokens,
            "cost_usd": attempt.cost_usd,
            "cost_unknown_because": attempt.cost_unknown_because,
            "prompt_sha256": attempt.prompt_sha256,
            "request_sha256": request.sha256,
            "response_sha256": response.sha256 if response is not None else None,
            "http_response_status_code": attempt.http_status,
            "error_class": attempt.error_class,
            "error": attempt.error,
            "provider_request_id": attempt.provider_request_id,
            "limits": attempt.limits,
            "started_at": attempt.started_at,
            "total_ms": attempt.total_ms,
            "gen_ai_usage_cache_write_tokens": attempt.usage.cache_write_tokens,
            "gen_ai_usage_reasoning_tokens": attempt.usage.reasoning_tokens,
            "cost_source": attempt.cost_source,
            "estimated_usd": attempt.estimated_usd,
            "queue_ms": attempt.queue_ms,
            "first_token_ms": attempt.first_token_ms,
            "sent": attempt.sent,
        }
    )


def tool_rows(shared: dict[str, Any], use: ToolUse) -> Iterator[Event]:
    """The row of a tool's call, and its texts."""
    arguments = text("tool_arguments", use.arguments, use.started_at)
    yield arguments
    response = None
    if use.response is not None:
        response = text("tool_response", use.response, use.started_at)
        yield response
    yield ToolCallEvent.of(
        {
            **shared,
            "event_id": f"{shared['event_id']}tool-{use.n}",
            "attempt_id": use.attempt_id,
            "n": use.n,
            "gen_ai_tool_call_id": use.call_id,
            "gen_ai_tool_name": use.tool,
            "status": use.status,
            "error": use.error,
            "arguments_sha256": arguments.sha256,
            "response_sha256": response.sha256 if response is not None else None,
            "http_response_status_code": use.http_status,
            "tries": use.tries,
            "idempotency_key": use.idempotency_key,
            "started_at": use.started_at,
            "total_ms": use.total_ms,
        }
    )


def text(kind: str, content: str, at: datetime) -> PayloadEvent:
    """A text as a content-addressed row; its hash is that of the whole, also where a huge one is cut off."""
    kept = content if len(content) <= MAX_TEXT // 4 else content.encode()[:MAX_TEXT].decode(errors="ignore")
    return PayloadEvent.made(sha256=sha256_hex(content), kind=kind, time=at, text=kept)

"""The dialect of OpenAI's chat completions, as pure functions: request to bytes, response to reply or failure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from processors.providers.errors import BY_BREAK, Break, ErrorClass, may_have_run, of_status, retry_after_s
from processors.providers.port import Answered, CompletionRequest, Exchange, Failure, Reply
from schemas.stages import Usage

PATH = "/chat/completions"
_REQUEST_IDS = ("x-request-id", "request-id", "openai-request-id")
_MAX_ERROR = 500
_MAX_COUNT = 2**31  # beyond it a count is a mistake


@dataclass(frozen=True, slots=True)
class RawResponse:
    """What came back, unread. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def encode(request: CompletionRequest) -> bytes:
    """The body of the call."""
    body: dict[str, Any] = {
        "model": request.model.id,
        "messages": [turn.encoded or {"role": turn.role, "content": turn.content} for turn in request.messages],
        request.model.limit_field: request.max_tokens,
    }
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.logprobs:
        body["logprobs"] = True
        if request.top_logprobs is not None:
            body["top_logprobs"] = request.top_logprobs
    if request.output_schema is not None:
        named = {"name": "answer", "strict": True, "schema": request.output_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    return orjson.dumps(body)


def read(request: str, raw: RawResponse, now: datetime) -> Answered:
    """The reply or the classified failure that a response is; `now` serves to read a Retry-After that is a date."""
    try:
        body = orjson.loads(raw.body)
    except ValueError as error:
        body = error
    if raw.status != 200 or (isinstance(body, dict) and body.get("error")):
        return _refusal(request, raw, body, now)
    try:
        return _reply(request, raw, body)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        shown = raw.body[:120].decode("utf-8", "replace")
        said = f"the response is no chat completion ({type(error).__name__}: {error}): {shown!r}"
        return broken(request, Break.UNREADABLE, said, raw)


def broken(request: str, kind: Break, said: str, raw: RawResponse | None = None) -> Failure:
    """The failure of a call that ended without an answer that can be read."""
    error_class, ran = BY_BREAK[kind]
    exchange = Exchange(request) if raw is None else _exchange(request, raw, None)
    return Failure(exchange, error_class, said[:_MAX_ERROR], may_have_run=ran)


def _reply(request: str, raw: RawResponse, body: Any) -> Answered:
    choice = body["choices"][0]
    turn, finish = choice["message"], str(choice.get("finish_reason") or "")
    exchange = _exchange(request, raw, body, finish)
    refusal, text = turn.get("refusal"), turn.get("content")
    if finish == "content_filter" or refusal:
        return Failure(exchange, ErrorClass.CONTENT_REFUSED, f"the model refused: {refusal or finish}"[:_MAX_ERROR])
    if finish == "length":
        return Failure(exchange, ErrorClass.TRUNCATED, "the answer was cut off at the limit of output tokens")
    if not isinstance(text, str):
        said = f"the answer holds no text (finish_reason {finish!r})"
        return Failure(exchange, ErrorClass.RETRYABLE_ELSEWHERE, said)
    pieces = (choice.get("logprobs") or {}).get("content") or ()
    logprobs = [piece["logprob"] for piece in pieces]
    if not all(isinstance(logprob, (int, float)) for logprob in logprobs):
        return Reply(exchange, text)
    return Reply(exchange, text, tuple([piece["token"] for piece in pieces]), tuple(map(float, logprobs)))


def _refusal(request: str, raw: RawResponse, body: Any, now: datetime) -> Failure:
    said = body.get("error") if isinstance(body, dict) else None
    if isinstance(said, dict):
        codes = tuple(str(said[name]) for name in ("code", "type") if said.get(name))
        message = str(said.get("message") or "")
    else:
        codes, message = (), str(said or raw.body[:200].decode("utf-8", "replace"))
    exchange = _exchange(request, raw, None)
    # An error under status 200 comes from servers that find out after the headers have left.
    error_class = of_status(500 if raw.status == 200 else raw.status, codes, message)
    error = f"HTTP {raw.status} {'/'.join(codes)}: {message}"[:_MAX_ERROR]
    wait = retry_after_s(raw.status, raw.headers, now)
    return Failure(exchange, error_class, error, wait, may_have_run(raw.status))


def _exchange(request: str, raw: RawResponse, body: Any, finish: str | None = None) -> Exchange:
    headers = raw.headers
    said = body if isinstance(body, dict) else {}
    return Exchange(
        request=request,
        response=raw.body.decode("utf-8", "replace"),
        http_status=raw.status,
        model=_text(said.get("model")),
        finish_reason=finish,
        usage=_usage(said.get("usage")),
        provider_request_id=next((headers[name] for name in _REQUEST_IDS if name in headers), None)
        or _text(said.get("id")),
        limits={name: headers[name] for name in headers if name.startswith("x-ratelimit-") or name == "retry-after"},
    )


def _usage(said: Any) -> Usage:
    if not isinstance(said, dict):
        return Usage()
    details = said.get("prompt_tokens_details") or {}
    return Usage.made(
        input_tokens=_count(said.get("prompt_tokens")),
        output_tokens=_count(said.get("completion_tokens")),
        cached_tokens=_count(details.get("cached_tokens")),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_COUNT
    return value if fits else None

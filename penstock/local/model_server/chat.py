"""OpenAI's chat completions: answers in their words, whole or in chunks."""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from penstock.local.model_server.completion import Completion
from penstock.local.model_server.tokens import Token
from penstock.local.model_server.wire import RequestRefusedError


def refusal(error: RequestRefusedError) -> bytes:
    """An error object."""
    return orjson.dumps({"error": error.error})


def whole(completion: Completion) -> bytes:
    """The whole answer as one JSON object."""
    message: dict[str, Any] = {"role": "assistant", "content": completion.content, "refusal": None}
    if completion.tool is not None:
        message |= {"content": None, "tool_calls": [_called(completion, completion.content)]}
    choice = {
        "index": 0,
        "message": message,
        "logprobs": _logprobs(completion, completion.tokens),
        "finish_reason": completion.finish_reason,
    }
    return orjson.dumps(_head(completion, "chat.completion") | {"choices": [choice], "usage": usage(completion)})


def chunks(completion: Completion, *, include_usage: bool) -> Iterator[bytes]:
    """The answer as server-sent events: role, a chunk per token, finish reason, usage if wanted, end mark."""
    head = _head(completion, "chat.completion.chunk") | ({"usage": None} if include_usage else {})
    start: dict[str, Any] = {"role": "assistant", "content": ""}
    if completion.tool is not None:
        start = {"role": "assistant", "content": None, "tool_calls": [{"index": 0, **_called(completion, "")}]}
    yield _event(head | {"choices": [_delta(start)]})
    for token in completion.tokens:
        said: dict[str, Any] = {"content": token.text}
        if completion.tool is not None:
            said = {"tool_calls": [{"index": 0, "function": {"arguments": token.text}}]}
        yield _event(head | {"choices": [_delta(said, logprobs=_logprobs(completion, [token]))]})
    yield _event(head | {"choices": [_delta({}, finish_reason=completion.finish_reason)]})
    if include_usage:
        yield _event(head | {"choices": [], "usage": usage(completion)})
    yield b"data: [DONE]\n\n"


def usage(completion: Completion) -> dict[str, Any]:
    """Tokens read and written."""
    written = len(completion.tokens)
    return {
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": written,
        "total_tokens": completion.prompt_tokens + written,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def spelled(tokens: Iterable[Token], most: int) -> list[dict[str, Any]]:
    """Tokens with their log probabilities, and at most so many alternatives each."""
    return [_with_alternatives(token, most) for token in tokens]


def _called(completion: Completion, arguments: str) -> dict[str, Any]:
    function = {"name": completion.tool, "arguments": arguments}
    return {"id": completion.call_id, "type": "function", "function": function}


def _head(completion: Completion, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{completion.id}",
        "object": kind,
        "created": completion.created,
        "model": completion.model,
        "system_fingerprint": completion.fingerprint,
    }


def _logprobs(completion: Completion, tokens: Iterable[Token]) -> dict[str, Any] | None:
    if completion.top_logprobs is None or completion.tool is not None:
        return None
    return {"content": spelled(tokens, completion.top_logprobs), "refusal": None}


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def _delta(delta: dict[str, Any], logprobs: Any = None, finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}


def _with_alternatives(token: Token, most: int) -> dict[str, Any]:
    """Where the format leaves no choice, the token itself is the only alternative."""
    alternatives = token.alternatives or ((token.text, token.logprob),)
    return _spelled(token.text, token.logprob) | {"top_logprobs": [_spelled(*pair) for pair in alternatives[:most]]}


def _spelled(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

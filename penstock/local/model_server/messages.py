"""Anthropic's messages: requests put into the words of chat completions, answers into blocks and events."""

from collections.abc import Iterator
from typing import Any, Final

import orjson

from penstock.local.model_server.completion import Completion
from penstock.local.model_server.wire import ChatRequest, RequestRefusedError, read_request

_KINDS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}
_STOPS: Final = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def read(body: dict[str, Any]) -> ChatRequest:
    """The request. Raises RequestRefusedError (400)."""
    messages, limit = body.get("messages"), body.get("max_tokens")
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        raise RequestRefusedError(400, "messages: a list of messages is required.", param="messages")
    if limit is None:
        raise RequestRefusedError(400, "max_tokens: Field required.", param="max_tokens")
    system = [{"role": "system", "content": body["system"]}] if body.get("system") else []
    chat = {
        "model": body.get("model"),
        "messages": [*system, *(turn for message in messages for turn in _turns(message))],
        "max_tokens": limit,
        "temperature": body.get("temperature"),
        "stream": body.get("stream"),
        "tools": [_tool(tool) for tool in body.get("tools") or () if isinstance(tool, dict)] or None,
        "tool_choice": _choice(body.get("tool_choice")),
        "response_format": _format((body.get("output_config") or {}).get("format")),
    }
    return read_request(chat)


def _turns(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A message's blocks as turns: what tools said first, then the texts and the calls."""
    content = message.get("content")
    if not isinstance(content, list):
        yield {"role": message.get("role"), "content": content}
        return
    blocks = [block for block in content if isinstance(block, dict)]
    for block in blocks:
        if block.get("type") == "tool_result":
            said = block.get("content")
            yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": said}
    calls = [
        {
            "id": block.get("id") or "",
            "function": {"name": block.get("name"), "arguments": orjson.dumps(block.get("input") or {}).decode()},
        }
        for block in blocks
        if block.get("type") == "tool_use"
    ]
    texts = [block for block in blocks if block.get("type") not in {"tool_use", "tool_result"}]
    if texts or calls:
        yield {"role": message.get("role"), "content": texts, "tool_calls": calls or None}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    function = {
        "name": tool.get("name"),
        "description": tool.get("description") or "",
        "parameters": tool.get("input_schema") or {},
    }
    return {"type": "function", "function": function}


def _choice(choice: Any) -> Any:
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "tool":
        return {"type": "function", "function": {"name": choice.get("name")}}
    return None if kind is None else _CHOICES.get(kind, kind)


def _format(wanted: Any) -> Any:
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        return {"type": "json_schema", "json_schema": {"schema": wanted.get("schema") or {}}}
    return wanted


def refusal(error: RequestRefusedError) -> bytes:
    """An error object."""
    kind = _KINDS.get(error.status, "api_error")
    return orjson.dumps({"type": "error", "error": {"type": kind, "message": error.error["message"]}})


def whole(completion: Completion) -> bytes:
    """The whole answer as one JSON object."""
    block: dict[str, Any] = {"type": "text", "text": completion.content}
    if completion.tool is not None:
        try:
            arguments = orjson.loads(completion.content)
        except orjson.JSONDecodeError:  # cut off in the middle
            arguments = {}
        block = {"type": "tool_use", "id": completion.call_id, "name": completion.tool, "input": arguments}
    return orjson.dumps(
        _message(completion)
        | {"content": [block], "stop_reason": _STOPS[completion.finish_reason], "usage": _usage(completion)}
    )


def chunks(completion: Completion, *, include_usage: bool) -> Iterator[bytes]:  # noqa: ARG001 -- always told here
    """The answer as server-sent events: the message, its one block piece by piece, why it stopped, its usage."""
    begun = {"input_tokens": completion.prompt_tokens, "output_tokens": 1}
    block: dict[str, Any] = {"type": "text", "text": ""}
    kind, member = "text_delta", "text"
    if completion.tool is not None:
        block = {"type": "tool_use", "id": completion.call_id, "name": completion.tool, "input": {}}
        kind, member = "input_json_delta", "partial_json"
    yield _event("message_start", {"message": _message(completion) | {"content": [], "usage": begun}})
    yield _event("content_block_start", {"index": 0, "content_block": block})
    for token in completion.tokens:
        yield _event("content_block_delta", {"index": 0, "delta": {"type": kind, member: token.text}})
    yield _event("content_block_stop", {"index": 0})
    stop = {"stop_reason": _STOPS[completion.finish_reason], "stop_sequence": None}
    yield _event("message_delta", {"delta": stop, "usage": _usage(completion)})
    yield _event("message_stop", {})


def _message(completion: Completion) -> dict[str, Any]:
    return {
        "id": f"msg_{completion.id}",
        "type": "message",
        "role": "assistant",
        "model": completion.model,
        "stop_reason": None,
        "stop_sequence": None,
    }


def _usage(completion: Completion) -> dict[str, Any]:
    return {
        "input_tokens": completion.prompt_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": len(completion.tokens),
    }


def _event(name: str, event: dict[str, Any]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps({"type": name, **event}) + b"\n\n"

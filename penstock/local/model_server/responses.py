"""OpenAI's responses: requests put into the words of chat completions, answers into items and events."""

from collections.abc import Iterator
from typing import Any

import orjson

from penstock.local.model_server.chat import spelled
from penstock.local.model_server.completion import Completion
from penstock.local.model_server.wire import ChatRequest, RequestRefusedError, read_request

_LOGPROBS = "message.output_text.logprobs"


def read(body: dict[str, Any]) -> ChatRequest:
    """The request. Raises RequestRefusedError (400)."""
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise RequestRefusedError(400, "Invalid value for 'input': a text or a list of items.", param="input")
    system = [{"role": "system", "content": body["instructions"]}] if body.get("instructions") else []
    logprobs = _LOGPROBS in (body.get("include") or ())
    chat = {
        "model": body.get("model"),
        "messages": [*system, *map(_message, items)],
        "max_tokens": body.get("max_output_tokens"),
        "temperature": body.get("temperature"),
        "logprobs": logprobs,
        "top_logprobs": body.get("top_logprobs") if logprobs else None,
        "stream": body.get("stream"),
        "tools": [{"type": "function", "function": tool} for tool in body.get("tools") or ()] or None,
        "tool_choice": _choice(body.get("tool_choice")),
        "response_format": _format((body.get("text") or {}).get("format")),
    }
    return read_request(chat)


def _message(item: dict[str, Any]) -> dict[str, Any]:
    match item.get("type"):
        case "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments") or ""}
            return {"role": "assistant", "tool_calls": [{"id": item.get("call_id") or "", "function": function}]}
        case "function_call_output":
            return {"role": "tool", "tool_call_id": item.get("call_id"), "content": item.get("output")}
        case _:
            return {"role": item.get("role"), "content": _content(item.get("content"))}


def _content(content: Any) -> Any:
    """Parts are texts here as there, under names of their own."""
    if not isinstance(content, list):
        return content
    texts = {"input_text", "output_text", "text"}
    return [
        part | {"type": "text"} if isinstance(part, dict) and part.get("type") in texts else part for part in content
    ]


def _choice(choice: Any) -> Any:
    named = isinstance(choice, dict) and choice.get("type") == "function"
    return {"type": "function", "function": {"name": choice.get("name")}} if named else choice


def _format(wanted: Any) -> Any:
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        return {"type": "json_schema", "json_schema": wanted}
    return wanted


def whole(completion: Completion) -> bytes:
    """The whole answer as one JSON object."""
    return orjson.dumps(_response(completion, [_item(completion)]))


def chunks(completion: Completion, *, include_usage: bool) -> Iterator[bytes]:  # noqa: ARG001 -- always told here
    """The answer as server-sent events, numbered; the last one holds it whole."""
    item = _item(completion)
    begun = _response(completion, []) | {"status": "in_progress", "usage": None}
    place = {"item_id": item["id"], "output_index": 0}
    events: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": begun}),
        ("response.output_item.added", {"output_index": 0, "item": item | {"status": "in_progress"} | _empty(item)}),
    ]
    if completion.tool is None:
        kind, place = "response.output_text", place | {"content_index": 0}
        events.append(("response.content_part.added", {**place, "part": {"type": "output_text", "text": ""}}))
        ended = {"text": completion.content}
    else:
        kind, ended = "response.function_call_arguments", {"arguments": completion.content}
    events += [(f"{kind}.delta", {**place, "delta": token.text}) for token in completion.tokens]
    last = "response.incomplete" if completion.finish_reason == "length" else "response.completed"
    events += [
        (f"{kind}.done", {**place, **ended}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        (last, {"response": _response(completion, [item])}),
    ]
    for number, (name, event) in enumerate(events):
        told = orjson.dumps({"type": name, "sequence_number": number, **event})
        yield b"event: " + name.encode() + b"\ndata: " + told + b"\n\n"


def _empty(item: dict[str, Any]) -> dict[str, Any]:
    return {"arguments": ""} if item["type"] == "function_call" else {"content": []}


def _item(completion: Completion) -> dict[str, Any]:
    if completion.tool is not None:
        return {
            "type": "function_call",
            "id": f"fc_{completion.id}",
            "call_id": completion.call_id,
            "name": completion.tool,
            "arguments": completion.content,
            "status": "completed",
        }
    part: dict[str, Any] = {"type": "output_text", "text": completion.content, "annotations": []}
    if completion.top_logprobs is not None:
        part["logprobs"] = spelled(completion.tokens, completion.top_logprobs)
    return {
        "type": "message",
        "id": f"msg_{completion.id}",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }


def _response(completion: Completion, output: list[dict[str, Any]]) -> dict[str, Any]:
    cut, written = completion.finish_reason == "length", len(completion.tokens)
    return {
        "id": f"resp_{completion.id}",
        "object": "response",
        "created_at": completion.created,
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "error": None,
        "model": completion.model,
        "output": output,
        "usage": {
            "input_tokens": completion.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": completion.prompt_tokens + written,
        },
    }

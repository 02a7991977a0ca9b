"""OpenAI's responses: how to ask, and what a body says."""

from collections.abc import Iterator
from typing import Any, Final

import orjson

from processors.providers.answers import Ended, Said, ToolCall
from processors.providers.dialects import openai_chat
from processors.providers.offering import Choice, choice, offered
from processors.providers.port import ANSWER_TOOL, ChatMessage, CompletionRequest, Structure
from processors.providers.reading import at, count, entries, joined, json_of, text
from schemas.stages import Usage

_INCOMPLETE: Final = {"max_output_tokens": Ended.LENGTH, "max_tokens": Ended.LENGTH, "content_filter": Ended.REFUSED}
_WHOLE: Final = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})


def path(model: str, *, stream: bool) -> str:  # noqa: ARG001 -- the same for all
    """Where to ask."""
    return "/responses"


def encode(request: CompletionRequest) -> bytes:
    """The body of the call. Nothing is stored at the provider."""
    body: dict[str, Any] = {
        "model": request.model.id,
        "input": [item for turn in request.messages for item in _items(turn)],
        "max_output_tokens": request.max_tokens,
        "store": False,
    }
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.logprobs:
        body["include"] = ["message.output_text.logprobs"]
        if request.top_logprobs is not None:
            body["top_logprobs"] = request.top_logprobs
    if request.structure is Structure.NATIVE:
        named = {"name": ANSWER_TOOL, "strict": True, "schema": request.output_schema}
        body["text"] = {"format": {"type": "json_schema", **named}}
    if tools := offered(request):
        body["tools"] = [
            {
                "type": "function",
                "strict": False,
                "name": one.name,
                "description": one.description,
                "parameters": one.parameters,
            }
            for one in tools
        ]
        body["tool_choice"] = {
            Choice.ANSWER: {"type": "function", "name": ANSWER_TOOL},
            Choice.ANY: "required",
            Choice.FREE: "auto",
            Choice.NONE: "none",
        }[choice(request)]
    if request.stream:
        body["stream"] = True
    return orjson.dumps(body)


def _items(turn: ChatMessage) -> Iterator[dict[str, Any]]:
    """A turn as items: what a model asked for, and each answer to that, is one of its own."""
    if turn.role == "tool":
        yield {"type": "function_call_output", "call_id": turn.answers, "output": turn.content}
        return
    if turn.content or not turn.tool_calls:
        yield {"role": turn.role, "content": turn.content}
    for call in turn.tool_calls:
        yield {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}


def read(body: dict[str, Any]) -> Said | str:
    """What a response says, or why it is none."""
    if not isinstance(body.get("output"), list):
        return "it holds no output"
    parts = [part for item in entries(body, "output") if item.get("type") == "message" for part in _parts(item)]
    calls = tuple(_tool_calls(body))
    refusal = joined(text(part, "refusal") for part in parts if part.get("type") == "refusal")
    status = text(body, "status") or ""
    reason = text(body, "incomplete_details", "reason")
    return Said(
        text=joined(text(part, "text") for part in parts if part.get("type") == "output_text"),
        tool_calls=calls,
        refusal=refusal or None,
        reasoning=_reasoning(body),
        finish_reason=reason or status,
        ended=Ended.REFUSED if refusal else _ended(status, reason, calls=bool(calls)),
        logprobs=openai_chat.logprobs(
            ((text(one, "token"), one.get("logprob")) for part in parts for one in entries(part, "logprobs")),
            "output[].content[].logprobs",
        ),
        usage=usage(at(body, "usage")),
        model=text(body, "model"),
        id=text(body, "id"),
    )


def _parts(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return entries(item, "content")


def _ended(status: str, reason: str | None, *, calls: bool) -> Ended:
    if status == "incomplete":
        return _INCOMPLETE.get(reason or "", Ended.OTHER)
    if status == "completed":
        return Ended.TOOL_CALLS if calls else Ended.STOP
    return Ended.PAUSED if status in ("queued", "in_progress") else Ended.OTHER


def _tool_calls(body: dict[str, Any]) -> Iterator[ToolCall]:
    for item in entries(body, "output"):
        if item.get("type") in ("function_call", "custom_tool_call"):
            written = item.get("arguments", item.get("input"))
            called = text(item, "call_id") or text(item, "id") or ""
            yield ToolCall(called, text(item, "name") or "", "" if written is None else json_of(written))


def _reasoning(body: dict[str, Any]) -> str | None:
    thought = [item for item in entries(body, "output") if item.get("type") == "reasoning"]
    found = [
        joined(text(part, "text") for name in ("summary", "content") for part in entries(item, name))
        for item in thought
    ]
    return "\n".join(filter(None, found)) or None


def usage(found: Any) -> Usage:
    """Usage, in which cached tokens are part of the input and reasoning is part of the output."""
    return Usage.made(
        input_tokens=count(found, "input_tokens"),
        output_tokens=count(found, "output_tokens"),
        cache_read_tokens=count(found, "input_tokens_details", "cached_tokens"),
        cache_write_tokens=count(found, "input_tokens_details", "cache_write_tokens"),
        reasoning_tokens=count(found, "output_tokens_details", "reasoning_tokens"),
        cache_write_1h_tokens=None,
        web_searches=None,
    )


def delta(event: dict[str, Any]) -> str:
    """The text that an event adds."""
    return (text(event, "delta") or "") if event.get("type") == "response.output_text.delta" else ""


def join(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The body that the last event of a stream carries; of a stream that was cut, what had come of it."""
    whole: dict[str, Any] = {}
    items: dict[int, dict[str, Any]] = {}
    for event in events:
        kind, response = event.get("type"), event.get("response")
        if isinstance(response, dict):
            whole |= response if kind in _WHOLE else {**response, "status": ""}
        if kind == "response.output_item.done" and isinstance(event.get("item"), dict):
            items[count(event, "output_index") or 0] = event["item"]
        if kind == "error":
            whole["error"] = event.get("error") or event
    if not whole.get("output") and whole:
        whole["output"] = [item for _, item in sorted(items.items())]
    return whole

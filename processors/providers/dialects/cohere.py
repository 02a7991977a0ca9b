"""Cohere's chat, second version: what a body says."""

from collections.abc import Iterator
from typing import Any, Final

from processors.providers.answers import Ended, Said, ToolCall
from processors.providers.reading import at, count, entries, joined, json_of, text
from schemas.stages import Usage

ENDED: Final = {
    "COMPLETE": Ended.STOP,
    "STOP_SEQUENCE": Ended.STOP,
    "MAX_TOKENS": Ended.LENGTH,
    "TOOL_CALL": Ended.TOOL_CALLS,
    "ERROR_TOXIC": Ended.REFUSED,
}


def read(body: dict[str, Any]) -> Said | str:
    """What a response says, or why it is none."""
    message = body.get("message")
    if not isinstance(message, dict):
        return "it holds no message"
    finish = text(body, "finish_reason") or ""
    ended = ENDED.get(finish, Ended.OTHER)
    thought = [text(part, "thinking") for part in entries(message, "content") if part.get("type") == "thinking"]
    return Said(
        text=joined(text(part, "text") for part in entries(message, "content")),
        tool_calls=tuple(_tool_calls(message)),
        refusal=finish if ended is Ended.REFUSED else None,
        reasoning="\n".join(filter(None, [text(message, "tool_plan"), *thought])) or None,
        finish_reason=finish,
        ended=ended,
        usage=usage(body.get("usage")),
        id=text(body, "id"),
    )


def _tool_calls(message: dict[str, Any]) -> Iterator[ToolCall]:
    for call in entries(message, "tool_calls"):
        written = at(call, "function", "arguments")
        yield ToolCall(
            text(call, "id") or "", text(call, "function", "name") or "", "" if written is None else json_of(written)
        )


def usage(found: Any) -> Usage:
    """Usage as it is billed: less than what the model read, to which Cohere adds words of its own."""
    return Usage.made(
        input_tokens=count(found, "billed_units", "input_tokens"),
        output_tokens=count(found, "billed_units", "output_tokens"),
        cache_read_tokens=None,
        cache_write_tokens=None,
        reasoning_tokens=None,
        cache_write_1h_tokens=None,
        web_searches=None,
    )


def delta(event: dict[str, Any]) -> str:
    """The text that an event adds."""
    return (text(event, "delta", "message", "content", "text") or "") if event.get("type") == "content-delta" else ""


def join(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The events of a stream as the body that they are pieces of; `finish_reason` stays empty if it did not end."""
    whole: dict[str, Any] = {}
    texts: list[str] = []
    thoughts: list[str] = []
    plan: list[str] = []
    calls: dict[int, dict[str, Any]] = {}
    for event in events:
        kind, said = event.get("type"), at(event, "delta", "message")
        if event.get("id"):
            whole.setdefault("id", event["id"])
        texts.append(text(said, "content", "text") or "")
        thoughts.append(text(said, "content", "thinking") or "")
        plan.append(text(said, "tool_plan") or "")
        call = at(said, "tool_calls")
        if isinstance(call, dict):
            _call(calls.setdefault(count(event, "index") or 0, {}), call)
        if kind == "message-end":
            whole["finish_reason"] = at(event, "delta", "finish_reason")
            whole["usage"] = at(event, "delta", "usage")
            if text(event, "delta", "error"):
                whole["error"] = text(event, "delta", "error")
    content = [{"type": "thinking", "thinking": "".join(thoughts)}, {"type": "text", "text": "".join(texts)}]
    message = {"content": content, "tool_plan": "".join(plan), "tool_calls": [one for _, one in sorted(calls.items())]}
    return whole | {"message": message} if whole else whole


def _call(known: dict[str, Any], call: dict[str, Any]) -> None:
    known["id"] = text(call, "id") or known.get("id", "")
    function = known.setdefault("function", {"name": "", "arguments": ""})
    function["name"] = text(call, "function", "name") or function["name"]
    function["arguments"] += text(call, "function", "arguments") or ""

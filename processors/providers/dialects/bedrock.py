"""Bedrock's converse: what a body says. It names neither the model nor the request: a header does the latter."""

from collections.abc import Iterator
from typing import Any, Final

from processors.providers.answers import Ended, Said, ToolCall
from processors.providers.reading import at, count, entries, joined, json_of, text, total
from schemas.stages import Usage

ENDED: Final = {
    "end_turn": Ended.STOP,
    "stop_sequence": Ended.STOP,
    "max_tokens": Ended.LENGTH,
    "model_context_window_exceeded": Ended.LENGTH,
    "tool_use": Ended.TOOL_CALLS,
    "guardrail_intervened": Ended.REFUSED,
    "content_filtered": Ended.REFUSED,
}

_NAMES: Final = (
    "messageStart",
    "contentBlockStart",
    "contentBlockDelta",
    "contentBlockStop",
    "messageStop",
    "metadata",
)


def read(body: dict[str, Any]) -> Said | str:
    """What a response says, or why it is none."""
    if not isinstance(at(body, "output", "message"), dict):
        return "it holds no output message"
    finish = text(body, "stopReason") or ""
    ended = ENDED.get(finish, Ended.OTHER)
    return Said(
        text=joined(text(block, "text") for block in _blocks(body)),
        tool_calls=tuple(_tool_calls(body)),
        refusal=finish if ended is Ended.REFUSED else None,
        reasoning=joined(text(block, "reasoningContent", "reasoningText", "text") for block in _blocks(body)) or None,
        finish_reason=finish,
        ended=ended,
        usage=usage(at(body, "usage")),
    )


def _blocks(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return entries(body, "output", "message", "content")


def _tool_calls(body: dict[str, Any]) -> Iterator[ToolCall]:
    for block in _blocks(body):
        call = block.get("toolUse")
        if isinstance(call, dict):
            yield ToolCall(text(call, "toolUseId") or "", text(call, "name") or "", json_of(call.get("input", {})))


def usage(found: Any) -> Usage:
    """Usage, in which what the cache read and wrote stands beside the input."""
    read_, written = count(found, "cacheReadInputTokens"), count(found, "cacheWriteInputTokens")
    fresh = count(found, "inputTokens")
    return Usage.made(
        input_tokens=None if fresh is None else total(fresh, read_, written),
        output_tokens=count(found, "outputTokens"),
        cache_read_tokens=read_,
        cache_write_tokens=written,
        reasoning_tokens=None,
        cache_write_1h_tokens=None,
        web_searches=None,
    )


def delta(event: dict[str, Any]) -> str:
    """The text that an event adds."""
    return text(event, "delta", "text") or ""


def join(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The events of a stream as the body that they are pieces of; `stopReason` stays empty if it did not end."""
    whole: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    for event in map(_unwrapped, events):
        index = count(event, "contentBlockIndex") or 0
        started, added = at(event, "start", "toolUse"), event.get("delta")
        if isinstance(started, dict):
            blocks[index] = {"toolUse": {**started, "input": ""}}
        if isinstance(added, dict):
            _add(blocks.setdefault(index, {}), added)
        for name in ("stopReason", "usage", "error"):
            if event.get(name):
                whole[name] = event[name]
    message = {"content": [block for _, block in sorted(blocks.items())]}
    return whole | {"output": {"message": message}} if whole or blocks else whole


def _unwrapped(event: dict[str, Any]) -> dict[str, Any]:
    """An event as converse sends it; the models that speak its language under invoke name it within."""
    inner = next((event[name] for name in _NAMES if isinstance(event.get(name), dict)), None)
    return event if inner is None else inner


def _add(block: dict[str, Any], added: dict[str, Any]) -> None:
    if (piece := text(added, "text")) is not None:
        block["text"] = block.get("text", "") + piece
    if (piece := text(added, "toolUse", "input")) is not None:
        call = block.setdefault("toolUse", {"input": ""})
        call["input"] += piece
    if (piece := text(added, "reasoningContent", "text")) is not None:
        thought = block.setdefault("reasoningContent", {"reasoningText": {"text": ""}})
        thought["reasoningText"]["text"] += piece

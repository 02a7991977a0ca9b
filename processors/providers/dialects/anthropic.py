"""Anthropic's messages: how to ask, and what a body says."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import orjson

from processors.providers.answers import Ended, Said, ToolCall
from processors.providers.offering import Choice, choice, offered
from processors.providers.port import ANSWER_TOOL, ChatMessage, CompletionRequest, Structure
from processors.providers.reading import at, count, entries, joined, json_of, text, total
from schemas.stages import Usage

ENDED: Final = {
    "end_turn": Ended.STOP,
    "stop_sequence": Ended.STOP,
    "max_tokens": Ended.LENGTH,
    "model_context_window_exceeded": Ended.LENGTH,
    "tool_use": Ended.TOOL_CALLS,
    "pause_turn": Ended.PAUSED,
    "refusal": Ended.REFUSED,
}

_PIECES: Final = ("text", "thinking", "partial_json")
VERSION: Final = "2023-06-01"


def path(model: str, *, stream: bool) -> str:  # noqa: ARG001 -- the same for all
    """Where to ask."""
    return "/messages"


def authorization(key: str) -> dict[str, str]:
    """The headers that carry the key."""
    return {"x-api-key": key, "anthropic-version": VERSION}


def encode(request: CompletionRequest) -> bytes:
    """The body of the call; what the system says stands apart from the turns."""
    body: dict[str, Any] = {
        "model": request.model.id,
        "max_tokens": request.max_tokens,
        "messages": _turns(turn for turn in request.messages if turn.role != "system"),
    }
    if system := "\n\n".join(turn.content for turn in request.messages if turn.role == "system"):
        body["system"] = system
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.structure is Structure.NATIVE:
        body["output_config"] = {"format": {"type": "json_schema", "schema": request.output_schema}}
    if tools := offered(request):
        body["tools"] = [
            {"name": one.name, "description": one.description, "input_schema": one.parameters} for one in tools
        ]
        body["tool_choice"] = {
            Choice.ANSWER: {"type": "tool", "name": ANSWER_TOOL},
            Choice.ANY: {"type": "any"},
            Choice.FREE: {"type": "auto"},
            Choice.NONE: {"type": "none"},
        }[choice(request)]
    if request.stream:
        body["stream"] = True
    return orjson.dumps(body)


def _turns(turns: Iterable[ChatMessage]) -> list[dict[str, Any]]:
    """Turns as messages; all answers to the tools of one turn are blocks of one message."""
    messages: list[dict[str, Any]] = []
    for turn in turns:
        if turn.role == "tool":
            result = {"type": "tool_result", "tool_use_id": turn.answers, "content": turn.content}
            if messages and messages[-1]["role"] == "user" and isinstance(messages[-1]["content"], list):
                messages[-1]["content"].append(result)
            else:
                messages.append({"role": "user", "content": [result]})
        elif turn.tool_calls:
            said = [{"type": "text", "text": turn.content}] if turn.content else []
            uses = [
                {"type": "tool_use", "id": call.id, "name": call.name, "input": call.object()}
                for call in turn.tool_calls
            ]
            messages.append({"role": turn.role, "content": [*said, *uses]})
        else:
            messages.append({"role": turn.role, "content": turn.content})
    return messages


def read(body: dict[str, Any]) -> Said | str:
    """What a message says, or why it is none."""
    if not isinstance(body.get("content"), list):
        return "it holds no content"
    finish = text(body, "stop_reason") or ""
    refused = finish == "refusal"
    return Said(
        text=joined(text(block, "text") for block in _blocks(body, "text")),
        tool_calls=tuple(
            ToolCall(text(block, "id") or "", text(block, "name") or "", json_of(block.get("input", {})))
            for block in _blocks(body, "tool_use")
        ),
        refusal=(text(body, "stop_details", "explanation") or finish) if refused else None,
        reasoning=joined(text(block, "thinking") for block in _blocks(body, "thinking")) or None,
        finish_reason=finish,
        ended=ENDED.get(finish, Ended.OTHER),
        usage=usage(at(body, "usage")),
        model=text(body, "model"),
        id=text(body, "id"),
    )


def _blocks(body: dict[str, Any], kind: str) -> Iterator[dict[str, Any]]:
    return (block for block in entries(body, "content") if block.get("type") == kind)


def usage(found: Any) -> Usage:
    """Usage, in which what the cache read and wrote stands beside the input."""
    read_, written = count(found, "cache_read_input_tokens"), count(found, "cache_creation_input_tokens")
    fresh = count(found, "input_tokens")
    return Usage.made(
        input_tokens=None if fresh is None else total(fresh, read_, written),
        output_tokens=count(found, "output_tokens"),
        cache_read_tokens=read_,
        cache_write_tokens=written,
        reasoning_tokens=count(found, "output_tokens_details", "thinking_tokens"),
        cache_write_1h_tokens=count(found, "cache_creation", "ephemeral_1h_input_tokens"),
        web_searches=count(found, "server_tool_use", "web_search_requests"),
    )


def delta(event: dict[str, Any]) -> str:
    """The text that an event adds."""
    return (text(event, "delta", "text") or "") if event.get("type") == "content_block_delta" else ""


def join(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The events of a stream as the message that they are pieces of; `stop_reason` stays empty if it did not end."""
    whole: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    pieces: dict[tuple[int, str], list[str]] = {}
    for event in events:
        kind, index = event.get("type"), count(event, "index") or 0
        if kind == "message_start" and isinstance(event.get("message"), dict):
            whole = dict(event["message"])
        elif kind == "content_block_start" and isinstance(event.get("content_block"), dict):
            blocks[index] = dict(event["content_block"])
        elif kind == "content_block_delta":
            for name in _PIECES:
                pieces.setdefault((index, name), []).append(text(event, "delta", name) or "")
        elif kind == "message_delta":
            _close(whole, event)
        elif kind == "error":
            whole["error"] = event.get("error") or event
    for (index, name), found in pieces.items():
        if written := "".join(found):
            block = blocks.setdefault(index, {"type": name})
            name_there = "input" if name == "partial_json" else name
            block[name_there] = (text(block, name_there) or "") + written
    return whole | {"content": [block for _, block in sorted(blocks.items())]} if whole else whole


def _close(whole: dict[str, Any], event: dict[str, Any]) -> None:
    """Why it ended, and its usage, which is the whole message's so far."""
    whole["stop_reason"] = at(event, "delta", "stop_reason")
    whole["stop_details"] = at(event, "delta", "stop_details")
    known, found = whole.get("usage"), event.get("usage")
    if isinstance(found, dict):
        newer = {name: value for name, value in found.items() if value is not None}
        whole["usage"] = {**(known if isinstance(known, dict) else {}), **newer}

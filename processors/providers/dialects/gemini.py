"""Gemini's generateContent, of Google's API and of Vertex: how to ask, and what a body says."""

from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote

import orjson

from processors.providers.answers import Ended, Logprobs, Said, ToolCall
from processors.providers.dialects import openai_chat
from processors.providers.offering import Choice, choice, offered
from processors.providers.port import ANSWER_TOOL, ChatMessage, CompletionRequest, Structure
from processors.providers.reading import at, count, entries, joined, json_of, text, total
from schemas.stages import Usage

_REFUSED: Final = frozenset(
    {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "LANGUAGE", "MODEL_ARMOR"}
)
_LOGPROBS: Final = "candidates[0].logprobsResult.chosenCandidates"


def path(model: str, *, stream: bool) -> str:
    """Where to ask."""
    return f"/models/{quote(model, safe='')}:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}"


def authorization(key: str) -> dict[str, str]:
    """The headers that carry the key."""
    return {"x-goog-api-key": key}


def encode(request: CompletionRequest) -> bytes:
    """The body of the call; what the system says stands apart from the turns."""
    config: dict[str, Any] = {"maxOutputTokens": request.max_tokens}
    if request.temperature is not None:
        config["temperature"] = request.temperature
    if request.logprobs:
        config["responseLogprobs"] = True
        if request.top_logprobs is not None:
            config["logprobs"] = request.top_logprobs
    body: dict[str, Any] = {"contents": _contents(turn for turn in request.messages if turn.role != "system")}
    if system := "\n\n".join(turn.content for turn in request.messages if turn.role == "system"):
        body["systemInstruction"] = {"parts": [{"text": system}]}
    if request.structure is Structure.NATIVE:
        config |= {"responseMimeType": "application/json", "responseJsonSchema": request.output_schema}
    if tools := offered(request):
        declared = [
            {"name": one.name, "description": one.description, "parametersJsonSchema": one.parameters} for one in tools
        ]
        body["tools"] = [{"functionDeclarations": declared}]
        body["toolConfig"] = {
            "functionCallingConfig": {
                Choice.ANSWER: {"mode": "ANY", "allowedFunctionNames": [ANSWER_TOOL]},
                Choice.ANY: {"mode": "ANY"},
                Choice.FREE: {"mode": "AUTO"},
                Choice.NONE: {"mode": "NONE"},
            }[choice(request)]
        }
    return orjson.dumps(body | {"generationConfig": config})


def _contents(turns: Iterable[ChatMessage]) -> list[dict[str, Any]]:
    """Turns as contents; the answers to all calls of one turn are one content, or they are refused."""
    contents: list[dict[str, Any]] = []
    before = ""
    for turn in turns:
        if turn.role == "tool":
            told = {"name": turn.name, "response": orjson.Fragment(turn.content)}
            part = {"functionResponse": told | ({"id": turn.answers} if turn.answers else {})}
            if before == "tool":
                contents[-1]["parts"].append(part)
            else:
                contents.append({"role": "user", "parts": [part]})
        else:
            said = [{"text": turn.content}] if turn.content or not turn.tool_calls else []
            role = "model" if turn.role == "assistant" else "user"
            contents.append({"role": role, "parts": [*said, *map(_call_part, turn.tool_calls)]})
        before = turn.role
    return contents


def _call_part(call: ToolCall) -> dict[str, Any]:
    """A call as the model made it; newer models want their signature back with it."""
    named = {"name": call.name, "args": call.object()} | ({"id": call.id} if call.id else {})
    return {"functionCall": named} | ({"thoughtSignature": call.signature} if call.signature else {})


def read(body: dict[str, Any]) -> Said | str:
    """What a response says, or why it is none."""
    candidate, blocked = at(body, "candidates", 0), text(body, "promptFeedback", "blockReason")
    if not isinstance(candidate, dict) and not blocked:
        return "it holds no candidates"
    calls = tuple(_tool_calls(candidate))
    finish = text(candidate, "finishReason") or blocked or ""
    refused = finish in _REFUSED or blocked is not None
    return Said(
        text=joined(text(part, "text") for part in _parts(candidate) if part.get("thought") is not True),
        tool_calls=calls,
        refusal=(text(candidate, "finishMessage") or finish) if refused else None,
        reasoning=joined(text(part, "text") for part in _parts(candidate) if part.get("thought") is True) or None,
        finish_reason=finish,
        ended=Ended.REFUSED if refused else _ended(finish, calls=bool(calls)),
        logprobs=_logprobs(candidate),
        usage=usage(at(body, "usageMetadata")),
        model=text(body, "modelVersion"),
        id=text(body, "responseId"),
    )


def _parts(candidate: Any) -> Iterator[dict[str, Any]]:
    return entries(candidate, "content", "parts")


def _ended(finish: str, *, calls: bool) -> Ended:
    if finish == "STOP":
        return Ended.TOOL_CALLS if calls else Ended.STOP
    return Ended.LENGTH if finish == "MAX_TOKENS" else Ended.OTHER


def _tool_calls(candidate: Any) -> Iterator[ToolCall]:
    for part in _parts(candidate):
        call = part.get("functionCall")
        if isinstance(call, dict):
            signature = text(part, "thoughtSignature") or ""
            yield ToolCall(text(call, "id") or "", text(call, "name") or "", json_of(call.get("args") or {}), signature)


def _logprobs(candidate: Any) -> Logprobs:
    chosen = entries(candidate, "logprobsResult", "chosenCandidates")
    return openai_chat.logprobs(((text(one, "token"), one.get("logProbability")) for one in chosen), _LOGPROBS)


def usage(found: Any) -> Usage:
    """Usage, in which thoughts stand beside the candidates' tokens, and what tools were given beside the prompt."""
    thoughts, written = count(found, "thoughtsTokenCount"), count(found, "candidatesTokenCount")
    read_ = total(count(found, "promptTokenCount"), count(found, "toolUsePromptTokenCount"))
    if written is None and read_ is not None and count(found, "totalTokenCount") == read_ + (thoughts or 0):
        written = 0  # it is left out then
    return Usage.made(
        input_tokens=read_,
        output_tokens=total(written, thoughts),
        cache_read_tokens=count(found, "cachedContentTokenCount"),
        cache_write_tokens=None,
        reasoning_tokens=thoughts,
        cache_write_1h_tokens=None,
        web_searches=None,
    )


def delta(event: dict[str, Any]) -> str:
    """The text that an event adds."""
    parts = entries(event, "candidates", 0, "content", "parts")
    return joined(text(part, "text") for part in parts if part.get("thought") is not True)


def join(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The responses of a stream as one; `finishReason` stays empty if it did not end."""
    whole: dict[str, Any] = {}
    candidate: dict[str, Any] = {}
    parts: list[dict[str, Any]] = []
    chosen: list[dict[str, Any]] = []
    for event in events:
        for name in ("promptFeedback", "modelVersion", "responseId", "error"):
            if event.get(name):
                whole[name] = event[name]
        if isinstance(event.get("usageMetadata"), dict):
            whole["usageMetadata"] = {**whole.get("usageMetadata", {}), **event["usageMetadata"]}
        found = at(event, "candidates", 0)
        if isinstance(found, dict):
            parts.extend(_parts(found))
            chosen.extend(entries(found, "logprobsResult", "chosenCandidates"))
            candidate |= {name: found[name] for name in ("finishReason", "finishMessage") if found.get(name)}
            whole["candidates"] = [candidate]
    candidate |= {"content": {"parts": parts}, "logprobsResult": {"chosenCandidates": chosen}}
    return whole

"""OpenAI's chat completions, as OpenAI and all who copied it write them: how to ask, and what a body says."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import orjson

from processors.providers.answers import Ended, Logprobs, Said, ToolCall
from processors.providers.offering import Choice, choice, offered
from processors.providers.port import ANSWER_TOOL, ChatMessage, CompletionRequest, Structure
from processors.providers.reading import at, count, entries, joined, json_of, text
from schemas.stages import Usage

ENDED: Final = {
    "stop": Ended.STOP,
    "eos": Ended.STOP,
    "length": Ended.LENGTH,
    "model_length": Ended.LENGTH,
    "tool_calls": Ended.TOOL_CALLS,
    "function_call": Ended.TOOL_CALLS,
    "content_filter": Ended.REFUSED,
    "refusal": Ended.REFUSED,
}
_REASONING: Final = ("reasoning_content", "reasoning")


def path(model: str, *, stream: bool) -> str:  # noqa: ARG001 -- the same for all
    """Where to ask."""
    return "/chat/completions"


def authorization(key: str) -> dict[str, str]:
    """The headers that carry the key."""
    return {"Authorization": f"Bearer {key}"}


def encode(request: CompletionRequest) -> bytes:
    """The body of the call."""
    body = _body(request)
    if request.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return orjson.dumps(body)


def encode_for_mistral(request: CompletionRequest) -> bytes:
    """The body of a call to Mistral, which reports usage of streams unasked and refuses to be asked."""
    return orjson.dumps(_body(request) | ({"stream": True} if request.stream else {}))


def _body(request: CompletionRequest) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": request.model.id,
        "messages": [turn.encoded or _turn(turn) for turn in request.messages],
        request.model.limit_field: request.max_tokens,
    }
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.logprobs:
        body["logprobs"] = True
        if request.top_logprobs is not None:
            body["top_logprobs"] = request.top_logprobs
    if request.structure is Structure.NATIVE:
        named = {"name": ANSWER_TOOL, "strict": True, "schema": request.output_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    if tools := offered(request):
        body["tools"] = [
            {
                "type": "function",
                "function": {"name": one.name, "description": one.description, "parameters": one.parameters},
            }
            for one in tools
        ]
        body["tool_choice"] = {
            Choice.ANSWER: {"type": "function", "function": {"name": ANSWER_TOOL}},
            Choice.ANY: "required",
            Choice.FREE: "auto",
            Choice.NONE: "none",
        }[choice(request)]
    return body


def _turn(turn: ChatMessage) -> dict[str, Any]:
    if turn.role == "tool":
        return {"role": "tool", "tool_call_id": turn.answers, "content": turn.content}
    if not turn.tool_calls:
        return {"role": turn.role, "content": turn.content}
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in turn.tool_calls
    ]
    return {"role": turn.role, "content": turn.content or None, "tool_calls": calls}


def read(body: dict[str, Any]) -> Said | str:
    """What a chat completion says, or why it is none."""
    choice = at(body, "choices", 0)
    if not isinstance(choice, dict):
        return "it holds no choices"
    message = choice.get("message")
    if message is None and "text" in choice:  # the older completions
        message = {"content": choice["text"]}
    if not isinstance(message, dict):
        return "its first choice holds no message"
    calls = tuple(_tool_calls(message)) if "tool_calls" in message or "function_call" in message else ()
    refusal = text(message, "refusal")
    finish = text(choice, "finish_reason") or ""
    return Said(
        text=content(message.get("content")),
        tool_calls=calls,
        refusal=refusal or None,
        reasoning=_reasoning(message),
        finish_reason=finish,
        ended=Ended.REFUSED if refusal else ENDED.get(finish, Ended.OTHER),
        logprobs=_logprobs(choice),
        usage=usage(at(body, "usage")),
        model=text(body, "model"),
        id=text(body, "id"),
    )


def content(found: Any) -> str:
    """The text of a message's content, which is a text or a list of parts."""
    if isinstance(found, str):
        return found
    return joined(text(part, "text") for part in entries(found) if part.get("type", "text") in ("text", "output_text"))


def thinking(found: Any) -> str:
    """The reasoning in a message's content, where Mistral puts it."""
    return joined(content(part.get("thinking")) for part in entries(found) if part.get("type") == "thinking")


def _reasoning(message: dict[str, Any]) -> str | None:
    for name in _REASONING:
        if said := text(message, name):
            return said
    found = message.get("content")
    return None if isinstance(found, str) else thinking(found) or None


def _tool_calls(message: dict[str, Any]) -> Iterator[ToolCall]:
    for call in entries(message, "tool_calls"):
        # A custom tool takes a text instead of arguments.
        name = text(call, "function", "name") or text(call, "custom", "name") or ""
        arguments = at(call, "function", "arguments")
        written = arguments if arguments is not None else at(call, "custom", "input")
        yield ToolCall(text(call, "id") or "", name, "" if written is None else json_of(written))
    old = message.get("function_call")
    if called := text(old, "name"):  # some send an empty one with every message
        yield ToolCall("", called, text(old, "arguments") or "")


def _logprobs(choice: dict[str, Any]) -> Logprobs:
    found = [(text(one, "token"), one.get("logprob")) for one in entries(choice, "logprobs", "content")]
    source = "choices[0].logprobs.content"
    if not found:  # the older completions
        tokens, values = at(choice, "logprobs", "tokens"), at(choice, "logprobs", "token_logprobs")
        if isinstance(tokens, list) and isinstance(values, list) and len(tokens) == len(values):
            found, source = list(zip(tokens, values, strict=True)), "choices[0].logprobs.token_logprobs"
    return logprobs(found, source)


def logprobs(found: Iterable[tuple[Any, Any]], source: str) -> Logprobs:
    """Log-probabilities, if every one is a token with a number."""
    found = list(found)
    whole = all(
        isinstance(token, str) and isinstance(value, int | float) and not isinstance(value, bool)
        for token, value in found
    )
    if not found or not whole:
        return Logprobs()
    return Logprobs(tuple(token for token, _ in found), tuple(float(value) for _, value in found), source)


def usage(found: Any) -> Usage:
    """Usage, in which cached tokens are part of the input and reasoning is part of the output."""
    cached = count(found, "prompt_tokens_details", "cached_tokens")
    return Usage.made(
        input_tokens=count(found, "prompt_tokens"),
        output_tokens=count(found, "completion_tokens"),
        cache_read_tokens=count(found, "prompt_cache_hit_tokens") if cached is None else cached,
        cache_write_tokens=count(found, "prompt_tokens_details", "cache_write_tokens"),
        reasoning_tokens=count(found, "completion_tokens_details", "reasoning_tokens"),
        cache_write_1h_tokens=None,
        web_searches=None,
    )


def delta(event: dict[str, Any]) -> str:
    """The text that an event adds."""
    return content(at(event, "choices", 0, "delta", "content"))


def join(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The chunks of a stream as the body that they are pieces of; `finish_reason` stays empty if it did not end."""
    whole: dict[str, Any] = {}
    message = _Message()
    choice: dict[str, Any] = {"message": message.whole, "logprobs": {"content": message.logprobs}}
    begun = False
    for event in events:
        for name in ("id", "model"):
            whole.setdefault(name, event[name]) if event.get(name) else None
        for found in (event.get("usage"), at(event, "x_groq", "usage")):
            if isinstance(found, dict):
                whole["usage"] = found
        if isinstance(at(event, "error"), dict | str):
            whole["error"] = event["error"]
        for part in entries(event, "choices"):
            if part.get("index", 0) != 0:
                continue
            begun = True
            message.add(part)
            if part.get("finish_reason"):
                choice["finish_reason"] = part["finish_reason"]
    message.close()
    return whole | {"choices": [choice] if begun else []}


class _Message:
    """A message as it grows."""

    def __init__(self) -> None:
        self.whole: dict[str, Any] = {}
        self.logprobs: list[Any] = []
        self._pieces: dict[str, list[str]] = {"content": [], "refusal": [], "reasoning": []}
        self._calls: dict[int, dict[str, Any]] = {}

    def add(self, choice: dict[str, Any]) -> None:
        """Take up one chunk's choice."""
        found = choice.get("delta")
        found = found if isinstance(found, dict) else {"content": choice.get("text")}
        self._pieces["content"].append(content(found.get("content")))
        self._pieces["refusal"].append(text(found, "refusal") or "")
        self._pieces["reasoning"].append(_reasoning(found) or "")
        self.logprobs.extend(entries(choice, "logprobs", "content"))
        for place, call in enumerate(entries(found, "tool_calls")):
            index = count(call, "index")
            self._call(place if index is None else index, call)
        if isinstance(found.get("function_call"), dict):
            self._call(-1, {"function": found["function_call"]})

    def _call(self, index: int, call: dict[str, Any]) -> None:
        known = self._calls.setdefault(index, {"id": "", "name": "", "arguments": []})
        known["id"] = text(call, "id") or known["id"]
        known["name"] = text(call, "function", "name") or text(call, "custom", "name") or known["name"]
        known["arguments"].append(text(call, "function", "arguments") or text(call, "custom", "input") or "")

    def close(self) -> None:
        """Put the pieces together."""
        self.whole |= {name: "".join(pieces) for name, pieces in self._pieces.items()}
        self.whole["tool_calls"] = [
            {"id": call["id"], "function": {"name": call["name"], "arguments": "".join(call["arguments"])}}
            for _, call in sorted(self._calls.items())
        ]

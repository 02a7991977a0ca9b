"""Recorded responses of real providers, and a second reading of them that shares nothing with Penstock's."""

import base64
import json
import lzma
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

Reading = tuple[str, list[tuple[str, Any]]]
"""Text and tool calls."""

FOLDER = Path(__file__).parents[2] / "tests" / "data" / "recordings"
GOLDEN = FOLDER / "golden.jsonl.xz"
HOSTS = (
    ("anthropic", "api.anthropic.com"),
    ("azure", "azure.com"),
    ("openai", "api.openai.com"),
    ("google", "googleapis.com"),
    ("aws", "amazonaws.com"),
    ("cohere", "cohere.com"),
    ("mistral", "mistral.ai"),
    ("groq", "groq.com"),
    ("openrouter", "openrouter.ai"),
    ("deepseek", "deepseek.com"),
    ("cerebras", "cerebras.ai"),
    ("huggingface_together", "huggingface.co/together"),
    ("huggingface", "huggingface.co"),
    ("snowflake", "snowflakecomputing.com"),
    ("zai", "z.ai"),
    ("ollama", "localhost"),
)
ENDPOINTS = (
    ("mistral", r"mistral\.ai.*/chat/completions$"),
    ("openai_chat", r"/(chat/)?completions$"),
    ("openai_responses", r"/responses(/(?!input_tokens|compact)[^/]+)?$"),
    ("anthropic", r"/messages$"),
    ("gemini", r":(generateContent|streamGenerateContent)$"),
    ("bedrock", r"/converse(-stream)?$"),
    ("cohere", r"/v2/chat$"),
    # What Bedrock passes through speaks the dialect of the model's maker.
    ("anthropic", r"/model/[^/]*anthropic[^/]*/invoke(-with-response-stream)?$"),
    ("bedrock", r"/model/[^/]*nova[^/]*/invoke(-with-response-stream)?$"),
)
NOT_CHAT = (
    ("a model maker's own dialect (Bedrock's invoke)", r"/model/.*/invoke"),
    ("counts tokens", r"count_?-?[tT]okens|input_tokens"),
    ("compacts a conversation", r"/responses/compact"),
    ("files, stores, caches", r"/files|/vector_stores|/cachedContents|[fF]ileSearchStores|/upload"),
    ("conversations", r"/conversations"),
    ("lists models", r"models"),
    ("makes images", r"/images/"),
    ("tools over MCP", r"/mcp$"),
    ("fetches a document or a token", r"."),
)


@dataclass(frozen=True)
class Recording:
    """One response as it came."""

    name: str
    method: str
    url: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """Of the URL, without its query."""
        return self.url.partition("?")[0]

    @property
    def provider(self) -> str:
        """Who answered, by genai-prices' names."""
        return next((name for name, host in HOSTS if host in self.url), "another")

    @property
    def dialect(self) -> str | None:
        """Which it speaks; nothing if it is not chat-like."""
        if self.method == "DELETE":
            return None
        return next((name for name, pattern in ENDPOINTS if re.search(pattern, self.path)), None)

    @property
    def why_not(self) -> str:
        """What it is, if not chat-like."""
        return next(why for why, pattern in NOT_CHAT if re.search(pattern, self.path))

    @property
    def streamed(self) -> bool:
        """Whether it is an event stream."""
        return "event" in self.headers.get("content-type", "") and "stream" in self.headers["content-type"]


@cache
def recordings() -> tuple[Recording, ...]:
    """All of them."""
    found = []
    for file in sorted(FOLDER.glob("cassettes_*.jsonl.xz")):
        for line in lzma.decompress(file.read_bytes()).decode().splitlines():
            one = json.loads(line)
            body = base64.b64decode(one["body_base64"]) if "body_base64" in one else (one["body"] or "").encode()
            name = f"{file.name.partition('.')[0]}/{one['cassette']}#{one['i']}"
            found.append(Recording(name, one["method"], one["url"], one["status"], one["headers"], body))
    return tuple(found)


@cache
def golden() -> dict[str, dict[str, Any]]:
    """The second reading of each, by name."""
    lines = lzma.decompress(GOLDEN.read_bytes()).decode().splitlines()
    return {one["name"]: one for one in map(json.loads, lines)}


def second_reading(recording: Recording) -> dict[str, Any]:
    """Text and tool calls, by plain JSON paths."""
    read = globals()[f"_{'openai_chat' if recording.dialect == 'mistral' else recording.dialect}"]
    events = _events(recording) if recording.streamed else None
    text, tools = read(json.loads(recording.body), None) if events is None else read(None, events)
    return {"name": recording.name, "text": text, "tools": [[name, _as_json(given)] for name, given in tools]}


def _as_json(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments or "{}")
    except json.JSONDecodeError:
        return arguments


def _events(recording: Recording) -> list[Any]:
    if "amazon" in recording.headers["content-type"]:
        return [*_frames(recording.body)]
    lines = re.findall(r"^data: ?(.*?)\r?$", recording.body.decode(), re.MULTILINE)
    return [json.loads(line) for line in lines if line.strip() not in ("", "[DONE]")]


def _frames(body: bytes) -> Iterator[Any]:
    place = 0
    while place < len(body):
        whole, headers = struct.unpack(">II", body[place : place + 8])
        event = json.loads(body[place + 12 + headers : place + whole - 4])
        yield json.loads(base64.b64decode(event["bytes"])) if "bytes" in event else event
        place += whole


def _content(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part["type"] == "text")
    return content or ""


def _openai_chat(body: Any, events: list[Any] | None) -> Reading:
    if events is None:
        choice = body["choices"][0]
        if "message" not in choice:
            return choice["text"], []
        message = choice["message"]
        called = [call["function"] for call in message.get("tool_calls") or []]
        return _content(message.get("content")), [(call["name"], call.get("arguments", "{}")) for call in called]
    text, tools = "", {}
    for event in events:
        for choice in event.get("choices") or []:
            if choice["index"] != 0:
                continue
            delta = choice.get("delta") or {"content": choice.get("text")}
            text += _content(delta.get("content"))
            for place, call in enumerate(delta.get("tool_calls") or []):
                slot = tools.setdefault(call.get("index", place), ["", ""])
                slot[0] = (call.get("function") or {}).get("name") or slot[0]
                slot[1] += (call.get("function") or {}).get("arguments") or ""
    return text, [tuple(tools[index]) for index in sorted(tools)]


def _openai_responses(body: Any, events: list[Any] | None) -> Reading:
    if events is not None:
        ends = [event["response"] for event in events if event["type"] in ("response.completed", "response.incomplete")]
        body = ends[-1]
        if not body["output"]:
            body["output"] = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    parts = [part for item in body["output"] if item["type"] == "message" for part in item["content"]]
    text = "".join(part["text"] for part in parts if part["type"] == "output_text")
    calls = [item for item in body["output"] if item["type"] in ("function_call", "custom_tool_call")]
    return text, [(call["name"], call.get("arguments", call.get("input"))) for call in calls]


def _anthropic(body: Any, events: list[Any] | None) -> Reading:
    if events is None:
        blocks = body["content"]
        text = "".join(block["text"] for block in blocks if block["type"] == "text")
        return text, [(block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
    starts = {event["index"]: event["content_block"] for event in events if event["type"] == "content_block_start"}
    text, inputs = "", {}
    for event in events:
        if event["type"] == "content_block_delta":
            text += event["delta"].get("text", "") if starts[event["index"]]["type"] == "text" else ""
            inputs[event["index"]] = inputs.get(event["index"], "") + event["delta"].get("partial_json", "")
    tools = [(starts[at]["name"], inputs.get(at, "")) for at in sorted(starts) if starts[at]["type"] == "tool_use"]
    return text, tools


def _gemini(body: Any, events: list[Any] | None) -> Reading:
    parts = []
    for one in [body] if events is None else events:
        for candidate in (one.get("candidates") or [])[:1]:
            parts += candidate.get("content", {}).get("parts", [])
    text = "".join(part["text"] for part in parts if "text" in part and not part.get("thought"))
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    return text, [(call["name"], call.get("args", {})) for call in calls]


def _bedrock(body: Any, events: list[Any] | None) -> Reading:
    if events is None:
        blocks = body["output"]["message"]["content"]
        text = "".join(block.get("text", "") for block in blocks)
        return text, [(block["toolUse"]["name"], block["toolUse"]["input"]) for block in blocks if "toolUse" in block]
    text, tools = "", {}
    for whole in events:
        event = whole.get("contentBlockStart") or whole.get("contentBlockDelta") or whole
        if "toolUse" in event.get("start", {}):
            tools[event["contentBlockIndex"]] = [event["start"]["toolUse"]["name"], ""]
        text += event.get("delta", {}).get("text", "")
        if "toolUse" in event.get("delta", {}):
            tools[event["contentBlockIndex"]][1] += event["delta"]["toolUse"]["input"]
    return text, [tuple(tools[index]) for index in sorted(tools)]


def _cohere(body: Any, events: list[Any] | None) -> Reading:
    assert events is None, "none was recorded"
    message = body["message"]
    text = "".join(part["text"] for part in message.get("content") or [] if part["type"] == "text")
    called = [call["function"] for call in message.get("tool_calls") or []]
    return text, [(call["name"], call["arguments"]) for call in called]


def write_golden() -> None:
    """Read all of them a second time and keep what was found: run by hand, looked through by a person."""
    chat = (one for one in recordings() if one.dialect and one.status == 200 and not _is_error(one))
    lines = [json.dumps(second_reading(one), ensure_ascii=False) for one in chat]
    GOLDEN.write_bytes(lzma.compress(("\n".join(lines) + "\n").encode(), preset=9))


def _is_error(recording: Recording) -> bool:
    """Whether an error came under status 200, as some providers send it in a stream."""
    return recording.streamed and b'"error":{' in recording.body.replace(b": ", b":")


if __name__ == "__main__":
    write_golden()

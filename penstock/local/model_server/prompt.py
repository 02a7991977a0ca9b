"""What one request asks for: the text to work on, the labels and sources on offer, the format wanted. Pure.

`divide` splits the last user message from the instructions around it; `understand` reads the instructions. The second
costs milliseconds and depends on the instructions alone, so its result is kept for the next request under them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import orjson

from penstock.local.model_server.labels import Card, cards_in, same, with_examples

_TEXT_TAGS = ("message", "text", "input", "ticket", "email", "query", "question", "customer_message", "user_message")
_FENCES = ('"""', "```")
_MARKED = re.compile(
    r"^(?:customer |user )?(?:message|text|input|ticket|email|query|question)[ \t]*:[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
_SOURCE = re.compile(
    r"<(source|chunk|document|doc|passage|snippet)\b[^<>]{0,200}?\bid\s?=\s?[\"']?([^\"'<>\s]{1,200})[\"']?[^<>]{0,200}>"
)
_BRACKETED = re.compile(r"^\[([\w.:#/-]{1,64})\][ \t:]+(\S.*?)(?=\n\s*\n|\n\[|\Z)", re.DOTALL | re.MULTILINE)
_BLANKS = re.compile(r"[ \t]{3,}")
_EMPTY_LINES = re.compile(r"\n{3,}")
_JSON = re.compile(r"\bjson\b", re.IGNORECASE)
_TEMPLATE = re.compile(r'\{[^{}]*"[^"{}]+"\s*:[^{}]*\}')
_KEY = re.compile(r'"([^"{}]+)"\s*:')
_CLASSIFY = re.compile(r"\b(classif\w*|categor\w*|labels?|intents?)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Turn:
    """One chat message as text."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """A piece of context that an answer may cite."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """The form of the answer: plain text, or JSON after a schema (the caller's, or one read from the prompt)."""

    form: Literal["text", "json"]
    schema: Any = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the instructions say."""

    cards: tuple[Card, ...]
    sources: tuple[Source, ...]
    wanted: Wanted
    classify: bool


def divide(turns: Sequence[Turn]) -> tuple[tuple[Turn, ...], str]:
    """The instructions, and the text to work on: the last user message, or the delimited or marked part of it."""
    last = max((at for at, turn in enumerate(turns) if turn.role == "user"), default=None)
    if last is None:
        return tuple(turns), ""
    whole = turns[last].text
    start, end, text = _target(whole)
    rest = Turn("user", whole[:start] + whole[end:])
    return (*turns[:last], rest, *turns[last + 1 :]), text


def understand(instructions: tuple[Turn, ...], response_format: bytes) -> Prompt:
    """Read the instructions; `response_format` is the request's, as JSON (`null` if it has none)."""
    sources: list[Source] = []
    written: list[str] = []
    for turn in instructions:
        # Long runs of blanks say nothing, and cost patterns that look past blanks the square of their length.
        text = _EMPTY_LINES.sub("\n\n", _BLANKS.sub("  ", turn.text))
        text, found = _without_sources(text)
        sources += found
        if turn.role != "assistant":
            written.append(text)
    text = "\n\n".join(written)
    cards = with_examples(cards_in(text), _shots(instructions))
    wanted = _wanted(orjson.loads(response_format), text)
    return Prompt(cards, tuple(sources), wanted, bool(cards) or bool(_CLASSIFY.search(text)))


def _target(whole: str) -> tuple[int, int, str]:
    """Where the text stands in the message, delimiters included, and the text. Linear in the message's length."""
    ends = {tag: end for tag in _TEXT_TAGS if (end := whole.rfind(f"</{tag}>")) >= 0}
    for tag in sorted(ends, key=ends.__getitem__, reverse=True):
        start, end = whole.rfind(f"<{tag}>", 0, ends[tag]), ends[tag]
        if start >= 0:
            return start, end + len(tag) + 3, whole[start + len(tag) + 2 : end].strip()
    for fence in _FENCES:
        end = whole.rfind(fence)
        start = whole.rfind(fence, 0, max(end, 0))
        if start >= 0:
            return start, end + len(fence), whole[start + len(fence) : end].strip()
    marks = list(_MARKED.finditer(whole))
    return (
        (marks[-1].start(), len(whole), whole[marks[-1].end() :].strip()) if marks else (0, len(whole), whole.strip())
    )


def _without_sources(text: str) -> tuple[str, list[Source]]:
    """The text without its sources, and the sources. Linear in the text's length."""
    found, rest, at = list[Source](), list[str](), 0
    unclosed = set[str]()
    for opened in _SOURCE.finditer(text):
        if opened.start() < at or opened[1] in unclosed:
            continue
        end = text.find(f"</{opened[1]}>", opened.end())
        if end < 0:
            unclosed.add(opened[1])
            continue
        found.append(Source(opened[2], text[opened.end() : end].strip()))
        rest.append(text[at : opened.start()])
        at = end + len(opened[1]) + 3
    text = "".join([*rest, text[at:]])
    found += [Source(match[1], match[2].strip()) for match in _BRACKETED.finditer(text)]
    return _BRACKETED.sub("", text), found


def _shots(instructions: tuple[Turn, ...]) -> list[tuple[str, str]]:
    """Examples given as earlier turns: a user message and the assistant's answer, plain or JSON with one text in it."""
    shots = []
    for user, assistant in pairwise(instructions):
        if (user.role, assistant.role) == ("user", "assistant"):
            shots += [(_target(user.text)[2], label) for label in _answers(assistant.text)]
    return shots


def _answers(text: str) -> list[str]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return [text]
    return [item for item in value.values() if isinstance(item, str)] if isinstance(value, dict) else [text]


def _wanted(response_format: Any, text: str) -> Wanted:
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if kind == "json_schema":
        return Wanted("json", response_format["json_schema"].get("schema") or {"type": "object"})
    if kind == "json_object" or (kind is None and _JSON.search(text)):
        return Wanted("json", _template_schema(text))
    return Wanted("text")


def _template_schema(text: str) -> Any:
    """A schema with the keys of the example object in a prompt (`{"intent": "...", "confidence": 0.9}`), or one key."""
    templates = _TEMPLATE.findall(text)
    keys = _KEY.findall(templates[-1]) if templates else []
    if not keys:
        keys = ["label" if _CLASSIFY.search(text) else "answer"]
    kinds = {
        key: {"type": "number" if same(key) in {"confidence", "probability", "score"} else "string"} for key in keys
    }
    return {"type": "object", "properties": kinds, "required": keys}

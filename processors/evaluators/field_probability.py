"""The probability that the model gave to the fields of its answer: the joint one of the tokens they consist of."""

import json
import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from processors.checks.schema import pointer
from schemas.stages import Completion

VERSION = "1"

_LEXEME = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """Why there is no probability: the score is unknown, not zero."""

    reason: str


@dataclass(frozen=True, slots=True)
class Span:
    """Where a field's value stands in the text: from `start` up to but not including `end`."""

    pointer: str
    start: int
    end: int

    def lies_in(self, field: str) -> bool:
        """Whether it is this field, or a part of it."""
        return self.pointer == field or self.pointer.startswith(f"{field}/")


def field_probability(completion: Completion, fields: tuple[str, ...], *, structured: bool) -> float | Unmeasured:
    """The joint probability of the tokens of the named fields (of all fields if none is named).

    A field that holds others counts with all of them, and a token that only touches a field counts whole. An answer
    that is plain text counts with all its tokens.
    """
    if not completion.tokens:
        return Unmeasured("the provider gave no token probabilities")
    if "".join(completion.tokens) != completion.text:
        return Unmeasured("the tokens that the provider gave do not spell its answer")
    if not structured:
        return math.exp(min(math.fsum(completion.logprobs), 0.0))
    spans = [span for span in scalar_spans(completion.text) if not fields or any(span.lies_in(name) for name in fields)]
    absent = [name for name in fields if not any(span.lies_in(name) for span in spans)]
    if absent or not spans:
        return Unmeasured(f"the answer has no field {', '.join(absent) or 'at all'}")
    ends = list(accumulate(map(len, completion.tokens)))
    counted: set[int] = set()
    for span in spans:
        counted.update(range(bisect_right(ends, span.start), bisect_left(ends, span.end) + 1))
    return math.exp(min(math.fsum(completion.logprobs[i] for i in counted), 0.0))


def scalar_spans(text: str) -> Iterator[Span]:
    """Every string, number and literal of a JSON text that is known to be valid (one code fence may enclose it).

    A string's span is what stands between its quotes; an empty one's are the quotes themselves.
    """
    path: list[str | int] = []
    key: str | None = None
    inside: list[str] = []
    expects_key = False
    for found in _LEXEME.finditer(text, _start(text)):
        lexeme = found[0]
        match lexeme:
            case "{" | "[":
                inside.append(lexeme)
                path.append(0 if lexeme == "[" else "")
                expects_key = lexeme == "{"
            case "}" | "]":
                inside.pop()
                path.pop()
                expects_key = False
                if not inside:
                    return
            case ",":
                expects_key = inside[-1] == "{"
                if not expects_key and isinstance(path[-1], int):
                    path[-1] += 1
            case ":":
                path[-1] = key or ""
                expects_key = False
            case _ if expects_key:
                key = json.loads(lexeme) if "\\" in lexeme else lexeme[1:-1]
            case _:
                yield _span(found, path)
                if not inside:
                    return


def _start(text: str) -> int:
    """Where the value begins: behind the first line of a code fence, if there is one."""
    stripped = text.lstrip()
    return text.index("\n") + 1 if stripped.startswith("```") else len(text) - len(stripped)


def _span(found: re.Match[str], path: list[str | int]) -> Span:
    start, end = found.span()
    if found[0].startswith('"') and end - start > 2:
        start, end = start + 1, end - 1
    return Span(pointer(path), start, end)

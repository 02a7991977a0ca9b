"""A provider that answers from a script: no network, the same reading of what comes back. For tests and rehearsals."""

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

import orjson

from processors.providers import openai_chat
from processors.providers.errors import Break
from processors.providers.openai_chat import RawResponse
from processors.providers.port import Answered, CompletionRequest


@dataclass(frozen=True, slots=True)
class Canned:
    """What the script gives back: a response after `after_s` seconds, or a break of the connection."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    after_s: float = 0.0
    breaks: Break | None = None


Script: TypeAlias = Callable[[CompletionRequest], Canned]


@dataclass(slots=True)
class ScriptedProvider:
    """Answers every request with what the script says; `requests` keeps them in order."""

    script: Script
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    requests: list[CompletionRequest] = field(default_factory=list)

    async def complete(self, request: CompletionRequest) -> Answered:
        """One call, once."""
        self.requests.append(request)
        asked = openai_chat.encode(request).decode()
        canned = self.script(request)
        limit = min(request.total_timeout_s, request.left_s)
        if canned.after_s >= limit:
            await asyncio.sleep(limit)
            return openai_chat.broken(asked, Break.TOTAL_TIMEOUT, f"no answer within {limit:.3g} s")
        if canned.after_s:
            await asyncio.sleep(canned.after_s)
        if canned.breaks is not None:
            return openai_chat.broken(asked, canned.breaks, canned.breaks.replace("_", " "))
        return openai_chat.read(asked, RawResponse(canned.status, canned.headers, canned.body), self.clock())

    async def aclose(self) -> None:
        """Nothing is held."""


def answer(text: str, model: str = "scripted", probability: float = 0.99, **changes: Any) -> Canned:
    """A completion with this text as one token of this probability; `changes` replace parts of the choice."""
    choice: dict[str, Any] = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": text},
        "logprobs": {"content": [{"token": text, "logprob": math.log(probability)}]},
    }
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    body = {"id": "scripted-1", "model": model, "choices": [choice | changes], "usage": usage}
    return Canned(orjson.dumps(body))

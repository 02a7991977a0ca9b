"""A provider that answers from a script: no network, the same reading of what comes back. For tests and rehearsals."""

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson

from processors.models import Dialect
from processors.providers.asking import ASKING
from processors.providers.errors import Break
from processors.providers.exchanges import RawResponse, answered, broken
from processors.providers.port import Answered, CompletionRequest
from schemas.stages import Transition


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
    dialect: Dialect = Dialect.OPENAI_CHAT
    requests: list[CompletionRequest] = field(default_factory=list)

    async def complete(self, request: CompletionRequest) -> Answered:
        """One call, once."""
        self.requests.append(request)
        asked = ASKING[self.dialect].encode(request).decode()
        canned = self.script(request)
        limit = min(request.total_timeout_s, request.left_s)
        if canned.after_s >= limit:
            await asyncio.sleep(limit)
            return broken(asked, Break.TOTAL_TIMEOUT, f"no answer within {limit:.3g} s")
        if canned.after_s:
            await asyncio.sleep(canned.after_s)
        if canned.breaks is not None:
            return broken(asked, canned.breaks, canned.breaks.replace("_", " "))
        raw = RawResponse(canned.status, canned.headers, canned.body)
        return answered(self.dialect, asked, raw, stream=request.stream)

    def may_repeat(self) -> bool:
        """It always may."""
        return True

    def news(self) -> tuple[Transition, ...]:
        """Nothing changes here."""
        return ()

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

"""The port of model providers: a request goes out, a reply or a classified failure comes back, each as a value."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol, TypeAlias

from processors.models import Model
from processors.providers.answers import NO_USAGE, ToolCall
from processors.providers.errors import ErrorClass
from schemas.quick import quick
from schemas.stages import Transition, Usage

ANSWER_TOOL: Final = "answer"
"""The name of the schema, or of the tool that the model is made to call where its provider enforces no schema."""


class Structure(StrEnum):
    """How a model is held to the answer's schema."""

    PROMPT = "prompt"
    NATIVE = "native"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn for the model: `role` is system, user, assistant or tool. `encoded` is it as JSON, if made before.

    An assistant's turn may have asked for `tool_calls`; a tool's `answers` the call of that id, under its `name`.
    """

    role: str
    content: str
    encoded: Any = None
    tool_calls: tuple[ToolCall, ...] = ()
    answers: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool that the model may have called: its name, what it is good for, and its arguments' JSON Schema, encoded."""

    name: str
    description: str
    parameters: Any


@quick
@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """One attempt: what is asked of which model, and how long it may take.

    `total_timeout_s` counts from the moment when a slot is free; `left_s` is what is left of the job's deadline and
    bounds both the wait for a slot, which took `queue_ms`, and the call. `output_schema` is the answer's JSON Schema,
    encoded, if the model shall be held to it; `structure` says how. A stream must begin within
    `first_token_timeout_s`, and go on within `between_tokens_timeout_s` each time; `on_text` is given its text as it
    comes. It `repeats` a call of this target. Of the `tools` none may be called where the model `must_answer` now.
    """

    attempt_id: str
    model: Model
    messages: tuple[ChatMessage, ...]
    max_tokens: int
    total_timeout_s: float
    left_s: float
    connect_timeout_s: float = 5.0
    temperature: float | None = None
    logprobs: bool = False
    top_logprobs: int | None = None
    output_schema: Any = None
    structure: Structure = Structure.PROMPT
    stream: bool = False
    first_token_timeout_s: float | None = None
    between_tokens_timeout_s: float | None = None
    queue_ms: float = 0.0
    tools: tuple[OfferedTool, ...] = ()
    must_answer: bool = False
    repeats: bool = False
    on_text: Callable[[str], None] | None = None


@quick
@dataclass(frozen=True, slots=True)
class Exchange:
    """What went over the wire, as far as it got. `usage` is what the provider reported.

    `queue_ms` was the wait for a slot, `first_token_ms` passed from sending to the first piece of the answer.
    """

    request: str
    response: str | None = None
    http_status: int | None = None
    model: str | None = None
    finish_reason: str | None = None
    usage: Usage = NO_USAGE
    provider_request_id: str | None = None
    limits: dict[str, str] = field(default_factory=dict)
    queue_ms: float = 0.0
    first_token_ms: float | None = None


@quick
@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, or the wish for `tool_calls`. `tokens` joined are the text; both are empty without probabilities."""

    exchange: Exchange
    text: str
    tokens: tuple[str, ...] = ()
    logprobs: tuple[float, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer that can be used.

    `retry_after_s` is the wait that the provider asked for, at most 60 s. `may_have_run` says whether the model may
    have worked, and so cost something, although nothing came of it. Where nothing was `attempted`, because a breaker is
    open, no key may be used or no slot became free, there is no attempt to record.
    """

    exchange: Exchange
    error_class: ErrorClass
    error: str
    retry_after_s: float | None = None
    may_have_run: bool = True
    attempted: bool = True


Answered: TypeAlias = Reply | Failure


class Provider(Protocol):
    """Where models answer. What can be expected to fail comes back as a `Failure`; only a bug raises."""

    async def complete(self, request: CompletionRequest) -> Answered:
        """Make one call, once: no retries inside."""
        ...

    def may_repeat(self) -> bool:
        """Take leave to call once more for a job whose call failed; False if there were too many of these lately."""
        ...

    def news(self) -> tuple[Transition, ...]:
        """What has changed in its targets since this was asked last."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...

"""The port of model providers: a request goes out, a reply or a classified failure comes back, each as a value."""

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from processors.models import Model
from processors.providers.errors import ErrorClass
from schemas.stages import Usage

NO_USAGE = Usage()
"""What a provider reported that reported nothing."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn for the model: `role` is system, user or assistant. `encoded` is the turn as JSON, if made before."""

    role: str
    content: str
    encoded: Any = None


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """One attempt: what is asked of which model, and how long it may take.

    `total_timeout_s` counts from the moment when a slot is free; `left_s` is what is left of the job's deadline and
    bounds both the wait for a slot and the call. `output_schema` is the answer's JSON Schema, encoded, if the model
    shall be held to it.
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


@dataclass(frozen=True, slots=True)
class Exchange:
    """What went over the wire, as far as it got. `usage` is what the provider reported."""

    request: str
    response: str | None = None
    http_status: int | None = None
    model: str | None = None
    finish_reason: str | None = None
    usage: Usage = NO_USAGE
    provider_request_id: str | None = None
    limits: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `tokens` joined are the text; both are empty when the provider gave no probabilities."""

    exchange: Exchange
    text: str
    tokens: tuple[str, ...] = ()
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer that can be used.

    `retry_after_s` is the wait that the provider asked for, at most 60 s. `may_have_run` says whether the model may
    have worked, and so cost something, although nothing came of it.
    """

    exchange: Exchange
    error_class: ErrorClass
    error: str
    retry_after_s: float | None = None
    may_have_run: bool = True


Answered: TypeAlias = Reply | Failure


class Provider(Protocol):
    """Where models answer. What can be expected to fail comes back as a `Failure`; only a bug raises."""

    async def complete(self, request: CompletionRequest) -> Answered:
        """Make one call, once: no retries inside."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...

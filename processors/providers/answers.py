"""What a provider's response is, whichever dialect it came in: a completion, or a failure with its class."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from processors.checks.strict_json import Parsed, parse
from processors.providers.errors import ErrorClass
from schemas.stages import Usage

NO_USAGE = Usage()
"""What a provider reported that reported nothing."""


class Ended(StrEnum):
    """Why the model stopped, in words that all dialects share."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    REFUSED = "refused"
    PAUSED = "paused"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model wants to have called; `arguments` is the JSON text that it wrote.

    A `signature` is the provider's, and must go back with the call.
    """

    id: str
    name: str
    arguments: str
    signature: str = ""

    def object(self) -> dict[str, Any]:
        """The arguments as an object; an empty one where the model wrote none that can be read."""
        found = parse(self.arguments)
        return found.value if isinstance(found, Parsed) and isinstance(found.value, dict) else {}


@dataclass(frozen=True, slots=True)
class Logprobs:
    """Tokens and their natural logarithms of probability, one for one; `source` is where in the body they were."""

    tokens: tuple[str, ...] = ()
    values: tuple[float, ...] = ()
    source: str | None = None


NO_LOGPROBS = Logprobs()


@dataclass(frozen=True, slots=True)
class Said:
    """What a body of a dialect says, before anything is made of it; `finish_reason` is the provider's own word."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    reasoning: str | None = None
    finish_reason: str = ""
    ended: Ended = Ended.OTHER
    logprobs: Logprobs = NO_LOGPROBS
    usage: Usage = NO_USAGE
    model: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model answered.

    `finish_reason` is the provider's own word and `ended` its meaning. `usage.input_tokens` holds all input, what was
    read from and written to a cache with it. `limits` are the rate-limit headers as they came.
    """

    text: str
    tool_calls: tuple[ToolCall, ...]
    refusal: str | None
    reasoning: str | None
    finish_reason: str
    ended: Ended
    logprobs: Logprobs
    usage: Usage
    model: str | None
    request_id: str | None
    limits: dict[str, str]


@dataclass(frozen=True, slots=True)
class ProviderFailure:
    """Why a response is no completion.

    `codes` are the provider's own. `retry_after_s` is the wait that it asked for, from 0 to 60 s. `may_have_run` says
    whether the model may have worked, and so cost something, although nothing came of it.
    """

    error_class: ErrorClass
    error: str
    codes: tuple[str, ...] = ()
    retry_after_s: float | None = None
    may_have_run: bool = True
    usage: Usage = NO_USAGE
    model: str | None = None
    request_id: str | None = None
    limits: dict[str, str] = field(default_factory=dict)

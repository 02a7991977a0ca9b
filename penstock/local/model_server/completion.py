"""A finished answer, before it is put into a dialect's words."""

from dataclasses import dataclass
from typing import Literal

from penstock.local.model_server.tokens import Token


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished answer."""

    id: str
    created: int  # seconds since 1970
    model: str
    fingerprint: str
    tokens: list[Token]
    finish_reason: Literal["stop", "length", "tool_calls"]
    prompt_tokens: int
    top_logprobs: int | None  # None: log probabilities were not asked for
    tool: str | None = None  # the function that is called; the text is its arguments then

    @property
    def content(self) -> str:
        """The answer's text."""
        return "".join(token.text for token in self.tokens)

    @property
    def call_id(self) -> str:
        """The id of the call, where a function is called."""
        return f"call_{self.id}"

"""How each dialect that is called wants to be asked: where, with what key in which header, in what words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from processors.models import Dialect
from processors.providers.dialects import anthropic, gemini, openai_chat, openai_responses
from processors.providers.port import CompletionRequest


class _Path(Protocol):
    def __call__(self, model: str, *, stream: bool) -> str: ...


@dataclass(frozen=True, slots=True)
class Asking:
    """One dialect's way: the path after the base URL, the headers that carry a key, the body."""

    path: _Path
    authorization: Callable[[str], dict[str, str]]
    encode: Callable[[CompletionRequest], bytes]


ASKING: Final[Mapping[Dialect, Asking]] = {
    Dialect.OPENAI_CHAT: Asking(openai_chat.path, openai_chat.authorization, openai_chat.encode),
    Dialect.MISTRAL: Asking(openai_chat.path, openai_chat.authorization, openai_chat.encode_for_mistral),
    Dialect.OPENAI_RESPONSES: Asking(openai_responses.path, openai_chat.authorization, openai_responses.encode),
    Dialect.ANTHROPIC: Asking(anthropic.path, anthropic.authorization, anthropic.encode),
    Dialect.GEMINI: Asking(gemini.path, gemini.authorization, gemini.encode),
}

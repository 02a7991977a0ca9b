"""The dialects that the server speaks, by the path that each is asked at."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from penstock.local.model_server import chat, messages, responses
from penstock.local.model_server.completion import Completion
from penstock.local.model_server.wire import ChatRequest, RequestRefusedError, read_request


class _Chunks(Protocol):
    def __call__(self, completion: Completion, *, include_usage: bool) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Speech:
    """One dialect: a request read, an answer written whole or as a stream, an error."""

    read: Callable[[dict[str, Any]], ChatRequest]
    whole: Callable[[Completion], bytes]
    chunks: _Chunks
    refusal: Callable[[RequestRefusedError], bytes]


SPEECHES: Final[Mapping[str, Speech]] = {
    "/v1/chat/completions": Speech(read_request, chat.whole, chat.chunks, chat.refusal),
    "/v1/responses": Speech(responses.read, responses.whole, responses.chunks, chat.refusal),
    "/v1/messages": Speech(messages.read, messages.whole, messages.chunks, messages.refusal),
}

"""From what came over the wire to a completion or a typed failure: pure, and total over any bytes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from processors.models import Dialect
from processors.providers.answers import Completion, ProviderFailure, Said
from processors.providers.dialects import anthropic, bedrock, cohere, gemini, openai_chat, openai_responses
from processors.providers.errors import BY_BREAK, Break, ErrorClass, complaint, may_have_run, of_status, retry_after_s
from processors.providers.event_streams import AWS, SERVER_SENT, Event, StreamError, reader_of
from processors.providers.reading import at, count, first, text
from schemas.stages import Usage

MAX_ERROR: Final = 500
DONE: Final = b"[DONE]"
_REQUEST_IDS: Final = ("x-request-id", "request-id", "openai-request-id", "x-amzn-requestid", "x-goog-request-id")
_LIMITS: Final = ("x-ratelimit-", "anthropic-ratelimit-", "ratelimit", "retry-after", "x-rate-limit-")


@dataclass(frozen=True, slots=True)
class Reader:
    """How one dialect is read: a whole body, the events of a stream as such a body, and what text an event adds."""

    read: Callable[[dict[str, Any]], Said | str]
    join: Callable[[list[dict[str, Any]]], dict[str, Any]]
    delta: Callable[[dict[str, Any]], str]


READERS: Final[Mapping[Dialect, Reader]] = {
    Dialect.OPENAI_CHAT: Reader(openai_chat.read, openai_chat.join, openai_chat.delta),
    Dialect.OPENAI_RESPONSES: Reader(openai_responses.read, openai_responses.join, openai_responses.delta),
    Dialect.ANTHROPIC: Reader(anthropic.read, anthropic.join, anthropic.delta),
    Dialect.GEMINI: Reader(gemini.read, gemini.join, gemini.delta),
    Dialect.BEDROCK: Reader(bedrock.read, bedrock.join, bedrock.delta),
    Dialect.COHERE: Reader(cohere.read, cohere.join, cohere.delta),
    # Mistral's own additions (content in parts, thoughts among them) disturb nobody else.
    Dialect.MISTRAL: Reader(openai_chat.read, openai_chat.join, openai_chat.delta),
}


def parse(
    dialect: Dialect | str, status: int, headers: Mapping[str, str], body: bytes, *, stream: bool = False
) -> Completion | ProviderFailure:
    """What a response is.

    Args:
        dialect: the dialect of the endpoint that was called.
        status: of the response.
        headers: of the response, in any case.
        body: as it came, its content encoding undone.
        stream: whether a stream was asked for; what the response says of itself counts more.

    Raises:
        ValueError: no such dialect. Nothing else: any status, headers and bytes give a value.
    """
    reader = READERS[Dialect(dialect)]
    response = _Response(status, {name.lower(): value for name, value in headers.items()}, body)
    if response.streamed(asked=stream):
        return _of_stream(reader, response)
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        found = error
    if isinstance(found, list) and found and all(isinstance(one, dict) for one in found):
        # Google's streams without server-sent events, and its errors of streams, are lists.
        return _of_events(reader, response, found)
    if status != 200 or at(found, "error"):
        return refusal(response, found)
    if not isinstance(found, dict):
        return response.unreadable(
            f"it is no JSON object ({found})" if isinstance(found, Exception) else "it is no object"
        )
    return _completed(response, reader.read(found))


@dataclass(frozen=True, slots=True)
class _Response:
    """A response as it came; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def streamed(self, *, asked: bool) -> bool:
        """Whether the body is an event stream."""
        kind = self.headers.get("content-type", "").lower()
        if kind.startswith((SERVER_SENT, AWS)):
            return True
        start = self.body[:64].lstrip()
        return start.startswith((b"data:", b"event:", b":")) or (asked and not start.startswith((b"{", b"[", b"<")))

    @property
    def request_id(self) -> str | None:
        """The provider's own id of the request."""
        return first(self.headers, _REQUEST_IDS)

    @property
    def limits(self) -> dict[str, str]:
        """The rate-limit headers."""
        return {name: value for name, value in self.headers.items() if name.startswith(_LIMITS)}

    def broken(self, kind: Break, why: str, said: Said | None = None) -> ProviderFailure:
        """The failure of a response that is no answer."""
        error_class, ran = BY_BREAK[kind]
        return ProviderFailure(
            error_class,
            why[:MAX_ERROR],
            may_have_run=ran,
            usage=said.usage if said else Usage(),
            model=said.model if said else None,
            request_id=self.request_id or (said.id if said else None),
            limits=self.limits,
        )

    def unreadable(self, why: str) -> ProviderFailure:
        """The failure of a response that can't be read."""
        shown = self.body[:120].decode("utf-8", "replace")
        return self.broken(Break.UNREADABLE, f"the response can't be read: {why}: {shown!r}")


def _of_stream(reader: Reader, response: _Response) -> Completion | ProviderFailure:
    events = reader_of(response.headers.get("content-type", ""))
    try:
        raw = [*events.feed(response.body), *events.end()]
        found = bodies(raw)
    except StreamError as error:
        return response.unreadable(str(error))
    if isinstance(found, str):
        return response.unreadable(found)
    if not found and response.status != 200:
        return refusal(response, None)
    return _of_events(reader, response, found, done=raw[-1].data.strip() == DONE if raw else False)


def bodies(events: list[Event]) -> list[dict[str, Any]] | str:
    """The JSON objects that the events of a stream carry, each with its event's name as `type` if it names no other.

    What is no object is left out; what is no JSON ends it with the reason.
    """
    found = []
    for number, event in enumerate(events, 1):
        if event.data.strip() in (b"", DONE):
            continue
        try:
            body = orjson.loads(event.data)
        except orjson.JSONDecodeError as error:
            return f"event {number} is no JSON ({error})"
        if isinstance(body, dict):
            body.setdefault("type", event.name)
            found.append(body)
    return found


def _of_events(
    reader: Reader, response: _Response, events: list[dict[str, Any]], *, done: bool = False
) -> Completion | ProviderFailure:
    """What the events of a stream are together; `done` if its last word was that it is."""
    whole = reader.join(events)
    failed = next((event for event in events if event.get("type") == "error" or at(event, "error")), None)
    if failed is not None and not whole.get("error"):
        whole = {**whole, "error": failed.get("error") or failed}
    said = reader.read(whole)
    if response.status != 200 or whole.get("error"):
        return refusal(response, whole, None if isinstance(said, str) else said)
    if isinstance(said, str):
        return response.unreadable(f"a stream of {len(events)} events, {said}")
    if not said.finish_reason and not done:
        return response.broken(Break.CUT, f"the stream ended after {len(events)} events without its end", said)
    return _completed(response, said)


def _completed(response: _Response, said: Said | str) -> Completion | ProviderFailure:
    if isinstance(said, str):
        return response.unreadable(said)
    return Completion(
        text=said.text,
        tool_calls=said.tool_calls,
        refusal=said.refusal,
        reasoning=said.reasoning,
        finish_reason=said.finish_reason,
        ended=said.ended,
        logprobs=said.logprobs,
        usage=said.usage,
        model=said.model,
        request_id=response.request_id or said.id,
        limits=response.limits,
    )


def refusal(response: _Response, body: Any, said: Said | None = None) -> ProviderFailure:
    """The failure that a provider reports, with its class."""
    codes, message = complaint(body, response.headers)
    if not message and not codes:
        message = response.body[:200].decode("utf-8", "replace")
    # An error under status 200 comes from servers that find out after the headers have left.
    meant = count(body, "error", "code") or 0 if response.status == 200 else response.status
    error_class = of_status(meant if 400 <= meant < 600 else 500, codes, message)
    return ProviderFailure(
        error_class=error_class,
        error=f"HTTP {response.status} {'/'.join(codes)}: {message}"[:MAX_ERROR],
        codes=codes,
        retry_after_s=retry_after_s(response.status, response.headers, body, message),
        may_have_run=may_have_run(response.status) and error_class is not ErrorClass.WAIT_UNTIL,
        usage=said.usage if said else Usage(),
        model=(said.model if said else None) or text(body, "model"),
        request_id=response.request_id or text(body, "request_id") or text(body, "id"),
        limits=response.limits,
    )

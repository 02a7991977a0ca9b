"""The OpenAI chat completions dialect as this server speaks it: requests in, completions, chunks and errors out.

Ignored without complaint, as harmless: penalties, `logit_bias`, `stop`, `user`, `store`, `metadata`, `service_tier`.
Refused: more than one choice, content that is not text.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from penstock.local.model_server.prompt import Turn
from penstock.local.model_server.tokens import Token

MOST_TOP_LOGPROBS = 20


class RequestRefusedError(Exception):
    """A request that gets an error object instead of a completion."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.body = orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


class _Lenient(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class TextPart(_Lenient):
    """One part of a message's content."""

    type: Literal["text"]
    text: str


class ChatMessage(_Lenient):
    """One message of the conversation so far."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    tool_call_id: str | None = None

    def turn(self) -> Turn:
        """As text; a developer's message is a system message, a tool's answer is a source named after its call."""
        text = self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content or ())
        match self.role:
            case "developer":
                return Turn("system", text)
            case "tool":
                return Turn("tool", f'<source id="{self.tool_call_id or "tool"}">{text}</source>')
            case role:
                return Turn(role, text)


class JsonSchema(_Lenient):
    """The schema that an answer must follow."""

    name: str = "answer"
    schema_: dict[str, Any] = Field(default_factory=dict, alias="schema")


class ResponseFormat(_Lenient):
    """The form that an answer must have."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _has_its_schema(self) -> "ResponseFormat":
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("type json_schema needs the member json_schema")
        return self


class StreamOptions(_Lenient):
    """What a stream carries besides the answer."""

    include_usage: bool = False


class ChatRequest(_Lenient):
    """A request for one chat completion."""

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    response_format: ResponseFormat | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_TOP_LOGPROBS)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    seed: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @property
    def token_limit(self) -> int | None:
        """Most tokens that the answer may have; None: no limit."""
        return self.max_completion_tokens or self.max_tokens


def read_request(raw: bytes) -> ChatRequest:
    """Decode a request body. Raises RequestRefusedError (400) that names the first thing wrong with it."""
    try:
        chat = ChatRequest.model_validate(orjson.loads(raw))
    except orjson.JSONDecodeError as error:
        raise RequestRefusedError(400, f"The request body is not JSON: {error}.") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the request"
        raise RequestRefusedError(400, f"Invalid value for '{where}': {first['msg']}.", param=where) from error
    if chat.n not in {None, 1}:
        raise RequestRefusedError(400, f"n is {chat.n}: the local models give one choice per call.", param="n")
    if chat.top_logprobs is not None and not chat.logprobs:
        raise RequestRefusedError(400, "top_logprobs needs logprobs to be true.", param="top_logprobs")
    return chat


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished answer, before it is put into the dialect's words."""

    id: str
    created: int  # seconds since 1970
    model: str
    fingerprint: str
    tokens: list[Token]
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    top_logprobs: int | None  # None: log probabilities were not asked for

    @property
    def content(self) -> str:
        """The answer's text."""
        return "".join(token.text for token in self.tokens)

    @property
    def usage(self) -> dict[str, Any]:
        """Tokens read and written."""
        written = len(self.tokens)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": written,
            "total_tokens": self.prompt_tokens + written,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }

    def body(self) -> bytes:
        """The whole answer as one JSON object."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": self.content, "refusal": None},
            "logprobs": self._logprobs(self.tokens),
            "finish_reason": self.finish_reason,
        }
        return orjson.dumps(self._head("chat.completion") | {"choices": [choice], "usage": self.usage})

    def chunks(self, *, include_usage: bool) -> Iterator[bytes]:
        """The answer as server-sent events: role, a chunk per token, finish reason, usage if wanted, end mark."""
        head = self._head("chat.completion.chunk") | ({"usage": None} if include_usage else {})
        yield _event(head | {"choices": [_delta({"role": "assistant", "content": ""})]})
        for token in self.tokens:
            yield _event(head | {"choices": [_delta({"content": token.text}, logprobs=self._logprobs([token]))]})
        yield _event(head | {"choices": [_delta({}, finish_reason=self.finish_reason)]})
        if include_usage:
            yield _event(head | {"choices": [], "usage": self.usage})
        yield b"data: [DONE]\n\n"

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }

    def _logprobs(self, tokens: Iterable[Token]) -> dict[str, Any] | None:
        if self.top_logprobs is None:
            return None
        return {"content": [_with_alternatives(token, self.top_logprobs) for token in tokens], "refusal": None}


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def _delta(delta: dict[str, str], logprobs: Any = None, finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}


def _with_alternatives(token: Token, most: int) -> dict[str, Any]:
    """Where the format leaves no choice, the token itself is the only alternative."""
    alternatives = token.alternatives or ((token.text, token.logprob),)
    return _spelled(token.text, token.logprob) | {"top_logprobs": [_spelled(*pair) for pair in alternatives[:most]]}


def _spelled(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

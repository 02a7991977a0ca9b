"""Requests in the words of OpenAI's chat completions, into which those of the other dialects are put.

Ignored without complaint, as harmless: penalties, `logit_bias`, `stop`, `user`, `store`, `metadata`, `service_tier`.
Refused: more than one choice, content that is not text.
"""

from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from penstock.local.model_server.prompt import Turn

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
        self.error = {"message": message, "type": kind, "param": param, "code": code}


class _Lenient(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class TextPart(_Lenient):
    """One part of a message's content."""

    type: Literal["text"]
    text: str


class CalledFunction(_Lenient):
    """A function that an earlier answer called."""

    name: str
    arguments: str = ""


class ToolCall(_Lenient):
    """A call of an earlier answer."""

    id: str = ""
    function: CalledFunction


class ChatMessage(_Lenient):
    """One message of the conversation so far."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    tool_call_id: str | None = None
    tool_calls: list[ToolCall] | None = None

    @property
    def text(self) -> str:
        """The content as one text."""
        return self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content or ())

    def turn(self) -> Turn:
        """As text; a developer's message is a system message, a tool's answer is a source named after its call."""
        text = self.text
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


class Function(_Lenient):
    """A function on offer; `parameters` is the JSON Schema of its arguments."""

    name: Annotated[str, Field(min_length=1)]
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)


class Tool(_Lenient):
    """A tool on offer."""

    type: Literal["function"] = "function"
    function: Function


class NamedFunction(_Lenient):
    """The name of the function that must be called."""

    name: str


class NamedTool(_Lenient):
    """The tool that must be called."""

    type: Literal["function"]
    function: NamedFunction


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
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None

    @property
    def token_limit(self) -> int | None:
        """Most tokens that the answer may have; None: no limit."""
        return self.max_completion_tokens or self.max_tokens


def read_json(raw: bytes) -> dict[str, Any]:
    """The body as an object. Raises RequestRefusedError (400)."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RequestRefusedError(400, f"The request body is not JSON: {error}.") from error
    if not isinstance(body, dict):
        raise RequestRefusedError(400, "The request body is no JSON object.")
    return body


def read_request(body: dict[str, Any]) -> ChatRequest:
    """A request in the words of chat completions. Raises RequestRefusedError (400) naming the first thing wrong."""
    try:
        chat = ChatRequest.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the request"
        raise RequestRefusedError(400, f"Invalid value for '{where}': {first['msg']}.", param=where) from error
    if chat.n not in {None, 1}:
        raise RequestRefusedError(400, f"n is {chat.n}: the local models give one choice per call.", param="n")
    if chat.top_logprobs is not None and not chat.logprobs:
        raise RequestRefusedError(400, "top_logprobs needs logprobs to be true.", param="top_logprobs")
    return chat

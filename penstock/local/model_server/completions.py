"""From a request to a completion: divide, understand, answer, count, cut. Pure but for caches of what was read."""

from random import Random
from typing import Literal

import orjson

from penstock.local.model_server.answers import Answering, brief
from penstock.local.model_server.completion import Completion
from penstock.local.model_server.models import Model
from penstock.local.model_server.prompt import Turn, divide
from penstock.local.model_server.schema import SchemaError
from penstock.local.model_server.tokens import count, write
from penstock.local.model_server.tools import told, wish
from penstock.local.model_server.wire import ChatRequest, RequestRefusedError

TOKENS_PER_MESSAGE = 4
TOKENS_PER_ANSWER_START = 3
LONGEST_TOKEN = 13
"""Characters, but for blanks."""


def complete(model: Model, chat: ChatRequest, *, call_id: str, now: float, random: Random) -> Completion:
    """The model's answer to a request; `now` in seconds since 1970, `random` for a temperature above 0 without a seed.

    Raises RequestRefusedError (400, `context_length_exceeded`) if the prompt is longer than the model's context window.
    """
    turns = [message.turn() for message in chat.messages]
    wanted = chat.response_format
    response_format = orjson.dumps(wanted.model_dump(by_alias=True)) if wanted else b"null"
    prompt_tokens = _prompt_tokens(turns, response_format if wanted and wanted.json_schema else b"", model)
    instructions, text = divide(turns)
    try:
        understood = brief(model, instructions, response_format)
    except SchemaError as error:
        message = f"Invalid schema for response_format: at {error}."
        raise RequestRefusedError(400, message, param="response_format", code="invalid_json_schema") from error
    seeded = random if chat.seed is None else Random(chat.seed)  # noqa: S311 - sampling, not secrecy
    called = wish(chat, understood.prompt, text, model.read)
    answering = Answering(understood.prompt, text, chat.temperature or 0.0, seeded, told(chat.messages))
    tokens = write(answering.parts(called.plan if called else understood.plan), logprobs=bool(chat.logprobs))
    most = chat.token_limit
    ended: Literal["stop", "tool_calls"] = "tool_calls" if called else "stop"
    return Completion(
        id=call_id,
        created=int(now),
        model=model.name,
        fingerprint=model.fingerprint,
        tokens=tokens[:most],
        finish_reason="length" if most is not None and len(tokens) > most else ended,
        prompt_tokens=prompt_tokens,
        top_logprobs=(chat.top_logprobs or 0) if chat.logprobs else None,
        tool=called.name if called else None,
    )


def _prompt_tokens(turns: list[Turn], schema: bytes, model: Model) -> int:
    """What the model is given to read. Texts that are far too long are not counted out: that would hold up others."""
    limit = model.recipe.context_window
    tokens = sum(len(turn.text) for turn in turns) // LONGEST_TOKEN
    if tokens <= limit:
        tokens = TOKENS_PER_ANSWER_START + count(schema.decode())
        tokens += sum(TOKENS_PER_MESSAGE + count(turn.text) for turn in turns)
    if tokens > limit:
        message = (
            f"This model's context window is {limit} tokens, but your messages have {tokens} or more: shorten them."
        )
        raise RequestRefusedError(400, message, param="messages", code="context_length_exceeded")
    return tokens

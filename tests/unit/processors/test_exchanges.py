import json
from pathlib import Path

import orjson
import pytest

from processors.models import Dialect
from processors.prompts import encoded
from processors.providers.asking import ASKING
from processors.providers.exchanges import RawResponse, answered
from processors.providers.port import ChatMessage, CompletionRequest, Failure, Reply, Structure
from schemas.stages import Usage

RECORDED = Path(__file__).parents[2] / "data" / "openai_chat" / "responses.jsonl"
EXPECTED = {
    "chat-bad-request": "ours_to_fix",
    "chat-basic": "reply",
    "chat-detailed-usage": "truncated",
    "chat-image-to-text": "reply",
    "chat-json-mode": "reply",
    "chat-multiturn": "reply",
    "chat-no-messages": "ours_to_fix",
    "chat-openai-agents-python": "reply",
    "chat-parallel-tools": "wishes",
    "chat-text-to-image-tool": "truncated",
    "chat-tools": "wishes",
    "chat-unknown-model": "ours_to_fix",
    "chat-web-search": "reply",
}
BODY = {
    "id": "chatcmpl-1",
    "model": "gpt-x-2026",
    "choices": [
        {
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Hi", "refusal": None},
            "logprobs": {"content": [{"token": "H", "logprob": -0.5}, {"token": "i", "logprob": 0}]},
        }
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}},
}


def _read(body, status=200, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    raw = RawResponse(status, named, body if isinstance(body, bytes) else orjson.dumps(body))
    return answered(Dialect.OPENAI_CHAT, "{}", raw, stream=False)


def _encoded(request, dialect=Dialect.OPENAI_CHAT):
    return json.loads(ASKING[dialect].encode(request))


def _request(models, name="tiny", **changes):
    fields = {
        "attempt_id": "a/b/0/0/1",
        "model": models.models[name],
        "messages": (ChatMessage("system", "S", encoded("system", "S")), ChatMessage("user", 'U "q"')),
        "max_tokens": 7,
        "total_timeout_s": 1,
        "left_s": 1,
    }
    return CompletionRequest(**(fields | changes))


def test_the_plainest_request(models):
    """Model, turns and limit; nothing that was not asked for."""
    assert _encoded(_request(models)) == {
        "model": "tiny-1",
        "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": 'U "q"'}],
        "max_tokens": 7,
    }


def test_the_fullest_request(models):
    """Temperature, probabilities and the schema go in; the field of the limit is the model's."""
    model = models.models["tiny"].model_copy(update={"limit_field": "max_completion_tokens"})
    schema = orjson.Fragment(b'{"type":"object"}')
    held = {"output_schema": schema, "structure": Structure.NATIVE}
    body = _encoded(_request(models, model=model, temperature=0.0, logprobs=True, top_logprobs=3, **held))
    assert body["max_completion_tokens"] == 7
    assert "max_tokens" not in body
    assert (body["temperature"], body["logprobs"], body["top_logprobs"]) == (0.0, True, 3)
    assert body["response_format"]["json_schema"] == {"name": "answer", "strict": True, "schema": {"type": "object"}}


SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}}
NATIVE = {
    Dialect.OPENAI_CHAT: ("response_format", "json_schema", "schema"),
    Dialect.MISTRAL: ("response_format", "json_schema", "schema"),
    Dialect.OPENAI_RESPONSES: ("text", "format", "schema"),
    Dialect.ANTHROPIC: ("output_config", "format", "schema"),
    Dialect.GEMINI: ("generationConfig", "responseJsonSchema"),
}
BY_TOOL = {
    Dialect.OPENAI_CHAT: ("tools", 0, "function", "parameters"),
    Dialect.MISTRAL: ("tools", 0, "function", "parameters"),
    Dialect.OPENAI_RESPONSES: ("tools", 0, "parameters"),
    Dialect.ANTHROPIC: ("tools", 0, "input_schema"),
    Dialect.GEMINI: ("tools", 0, "functionDeclarations", 0, "parametersJsonSchema"),
}


@pytest.mark.parametrize("dialect", ASKING)
@pytest.mark.parametrize(("structure", "paths"), [(Structure.NATIVE, NATIVE), (Structure.TOOL, BY_TOOL)])
def test_each_dialect_holds_a_model_to_the_schema(models, dialect, structure, paths):
    """By its own way, or by a tool that the model must call, the schema goes out whole."""
    found = _encoded(_request(models, output_schema=SCHEMA, structure=structure), dialect)
    for step in paths[dialect]:
        found = found[step]
    assert found == SCHEMA


@pytest.mark.parametrize("dialect", ASKING)
def test_each_dialect_gets_every_turn_and_the_limit(models, dialect):
    """What the system says, what the user says, and how long the answer may be, wherever the dialect wants them."""
    text = json.dumps(_encoded(_request(models, max_tokens=4321), dialect))
    assert all(said in text for said in ('"S"', 'U \\"q', "4321"))


@pytest.mark.parametrize("dialect", [one for one in ASKING if one is not Dialect.GEMINI])
def test_a_stream_is_asked_for_in_the_body(models, dialect):
    """All but Gemini, which has a path of its own, are told in the body; only OpenAI's chat must be asked for usage."""
    body = _encoded(_request(models, stream=True), dialect)
    assert body["stream"] is True
    assert ("stream_options" in body) is (dialect is Dialect.OPENAI_CHAT)
    assert "stream" not in _encoded(_request(models), dialect)


def test_paths_and_keys():
    """Where each dialect is asked, and in which header its key goes."""
    gemini = ASKING[Dialect.GEMINI]
    assert gemini.path("g/1", stream=True) == "/models/g%2F1:streamGenerateContent?alt=sse"
    assert gemini.path("g", stream=False) == "/models/g:generateContent"
    assert ASKING[Dialect.ANTHROPIC].path("m", stream=True) == "/messages"
    assert ASKING[Dialect.OPENAI_RESPONSES].path("m", stream=False) == "/responses"
    assert gemini.authorization("k") == {"x-goog-api-key": "k"}
    assert ASKING[Dialect.ANTHROPIC].authorization("k")["x-api-key"] == "k"
    assert ASKING[Dialect.OPENAI_RESPONSES].authorization("k") == {"Authorization": "Bearer k"}


def test_an_answer_by_tool_is_the_answer():
    """What a model wrote into the tool that it had to call is its text."""
    call = {"id": "1", "function": {"name": "answer", "arguments": '{"x":"y"}'}}
    choice = {"finish_reason": "tool_calls", "message": {"content": None, "tool_calls": [call]}}
    assert _read(BODY | {"choices": [choice]}).text == '{"x":"y"}'


def test_a_reply_is_read_whole():
    """Text, tokens, usage, ids and limits; raw text kept."""
    reply = _read(BODY, x_request_id="req-1", x_ratelimit_remaining_tokens="5", server="x")
    assert isinstance(reply, Reply)
    assert (reply.text, reply.tokens, reply.logprobs) == ("Hi", ("H", "i"), (-0.5, 0))
    exchange = reply.exchange
    assert exchange.usage == Usage(input_tokens=9, output_tokens=2, cache_read_tokens=4)
    assert (exchange.model, exchange.finish_reason, exchange.provider_request_id) == ("gpt-x-2026", "stop", "req-1")
    assert exchange.limits == {"x-ratelimit-remaining-tokens": "5"}
    assert json.loads(exchange.response) == BODY


@pytest.mark.parametrize(
    "change",
    [
        {"logprobs": None},
        {"logprobs": {"content": None}},
        {"logprobs": {"content": [{"token": "Hi", "logprob": None}]}},
    ],
)
def test_without_probabilities_there_are_no_tokens(change):
    """What a server leaves out or leaves null is absent, not zero."""
    reply = _read(BODY | {"choices": [BODY["choices"][0] | change]})
    assert isinstance(reply, Reply)
    assert (reply.tokens, reply.logprobs) == ((), ())


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "9", "completion_tokens": -1}])
def test_usage_that_is_not_there_is_unknown(usage):
    """A server without usage gives null, never zero."""
    assert _read(BODY | {"usage": usage}).exchange.usage == Usage()


@pytest.mark.parametrize(
    ("body", "status", "error_class", "said"),
    [
        (b"<html>oops</html>", 200, "retryable_here", "can't be read"),
        (b'{"choices":[', 200, "retryable_here", "can't be read"),
        (b"[]", 200, "retryable_here", "can't be read"),
        ({"choices": []}, 200, "retryable_here", "can't be read"),
        ({"choices": [{"message": {"content": None}, "finish_reason": "stop"}]}, 200, "retryable_elsewhere", "no text"),
        ({"error": {"message": "late"}}, 200, "retryable_here", "HTTP 200 : late"),
        (b"<html>bad gateway</html>", 502, "retryable_here", "bad gateway"),
        ({"error": "plain words"}, 400, "ours_to_fix", "plain words"),
        ({"error": {"type": "t", "code": None, "message": "m"}}, 400, "ours_to_fix", "HTTP 400 t: m"),
        ({"detail": "Not Found"}, 404, "ours_to_fix", "Not Found"),
        (b"", 500, "retryable_here", "HTTP 500"),
    ],
)
def test_what_is_no_answer_is_a_classified_failure(body, status, error_class, said):
    """Whatever a server sends, it is read without raising, and the raw response is kept."""
    failure = _read(body, status)
    assert isinstance(failure, Failure)
    assert failure.error_class == error_class
    assert said in failure.error
    assert failure.exchange.http_status == status
    assert failure.exchange.response is not None


def test_a_failures_text_is_bounded():
    """A page of HTML does not become a page of reason."""
    assert len(_read({"error": {"message": "x" * 9999}}, 400).error) <= 500


def test_recorded_responses_of_openai_are_read():
    """Real answers give text and usage, a cut one is truncated, real errors are ours to fix."""
    recorded = [json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines()]
    read_as = {}
    for response in recorded:
        raw = RawResponse(response["status"], response["headers"], response["body"].encode())
        found = answered(Dialect.OPENAI_CHAT, "{}", raw, stream=False)
        wished = isinstance(found, Reply) and found.tool_calls
        read_as[response["name"]] = found.error_class if isinstance(found, Failure) else "wishes" if wished else "reply"
        assert found.exchange.provider_request_id.startswith("req_")
        if response["status"] == 200:
            assert found.exchange.usage.input_tokens > 0
            assert found.exchange.model.startswith("gpt-")
    assert read_as == EXPECTED

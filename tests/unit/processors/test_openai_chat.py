import json
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from processors.prompts import encoded
from processors.providers.openai_chat import RawResponse, encode, read
from processors.providers.port import ChatMessage, CompletionRequest, Failure, Reply
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
    "chat-parallel-tools": "retryable_elsewhere",
    "chat-text-to-image-tool": "truncated",
    "chat-tools": "retryable_elsewhere",
    "chat-unknown-model": "ours_to_fix",
    "chat-web-search": "reply",
}
NOW = datetime(2026, 11, 21, tzinfo=UTC)
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
    return read("{}", RawResponse(status, named, body if isinstance(body, bytes) else orjson.dumps(body)), NOW)


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
    assert json.loads(encode(_request(models))) == {
        "model": "tiny-1",
        "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": 'U "q"'}],
        "max_tokens": 7,
    }


def test_the_fullest_request(models):
    """Temperature, probabilities and the schema go in; the field of the limit is the model's."""
    model = models.models["tiny"].model_copy(update={"limit_field": "max_completion_tokens"})
    schema = orjson.Fragment(b'{"type":"object"}')
    body = json.loads(
        encode(_request(models, model=model, temperature=0.0, logprobs=True, top_logprobs=3, output_schema=schema))
    )
    assert body["max_completion_tokens"] == 7
    assert "max_tokens" not in body
    assert (body["temperature"], body["logprobs"], body["top_logprobs"]) == (0.0, True, 3)
    assert body["response_format"]["json_schema"] == {"name": "answer", "strict": True, "schema": {"type": "object"}}


def test_a_reply_is_read_whole():
    """Text, tokens, usage, ids and limits; raw text kept."""
    reply = _read(BODY, x_request_id="req-1", x_ratelimit_remaining_tokens="5", server="x")
    assert isinstance(reply, Reply)
    assert (reply.text, reply.tokens, reply.logprobs) == ("Hi", ("H", "i"), (-0.5, 0))
    exchange = reply.exchange
    assert exchange.usage == Usage(input_tokens=9, output_tokens=2, cached_tokens=4)
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
        (b"<html>oops</html>", 200, "retryable_here", "is no chat completion"),
        (b'{"choices":[', 200, "retryable_here", "is no chat completion"),
        (b"[]", 200, "retryable_here", "is no chat completion"),
        ({"choices": []}, 200, "retryable_here", "is no chat completion"),
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
        answered = read("{}", raw, NOW)
        read_as[response["name"]] = answered.error_class if isinstance(answered, Failure) else "reply"
        assert answered.exchange.provider_request_id.startswith("req_")
        if response["status"] == 200:
            assert answered.exchange.usage.input_tokens > 0
            assert answered.exchange.model.startswith("gpt-")
    assert read_as == EXPECTED

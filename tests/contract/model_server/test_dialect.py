"""The dialect over real HTTP: what OpenAI's clients rely on."""

import asyncio
import io
import math
import time

import orjson
import pytest

from penstock.local import banking77

pytestmark = pytest.mark.stack

ENUM = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"intent": {"type": "string", "enum": list(banking77.labels())}},
            "required": ["intent"],
            "additionalProperties": False,
        },
    },
}


async def test_a_completion_has_the_dialects_shape(server):
    """Every member that clients read is there, and the content follows the schema."""
    status, body, headers = await server.chat("I am still waiting on my card?", response_format=ENUM)
    assert status == 200
    assert body["object"] == "chat.completion"
    assert body["model"] == "local-mid"
    assert body["id"].startswith("chatcmpl-")
    assert body["system_fingerprint"].startswith("fp_")
    assert body["created"] == pytest.approx(time.time(), abs=30)
    (choice,) = body["choices"]
    assert choice["message"] == {"role": "assistant", "content": '{"intent":"card_arrival"}', "refusal": None}
    assert (choice["index"], choice["finish_reason"], choice["logprobs"]) == (0, "stop", None)
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 1_000
    assert usage["prompt_tokens_details"] == {"cached_tokens": 0}
    assert headers["x-request-id"].startswith("req_")


async def test_log_probabilities_spell_the_content(server):
    """Tokens and bytes joined are the content; alternatives are as many as asked for, sorted, and include the token."""
    _, body, _ = await server.chat("where is it", response_format=ENUM, logprobs=True, top_logprobs=3)
    (choice,) = body["choices"]
    tokens = choice["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == choice["message"]["content"]
    assert bytes(byte for token in tokens for byte in token["bytes"]).decode() == choice["message"]["content"]
    assert len(tokens) == body["usage"]["completion_tokens"]
    for token in tokens:
        tops = [top["logprob"] for top in token["top_logprobs"]]
        assert 1 <= len(tops) <= 3
        assert tops == sorted(tops, reverse=True)
        assert token["token"] in {top["token"] for top in token["top_logprobs"]}
    assert 0.0 < math.exp(sum(token["logprob"] for token in tokens)) < 0.99


async def test_a_streamed_answer_is_the_same_answer(server):
    """Chunks joined are the whole answer, with one id, a finish reason, usage when asked for, and the end mark."""
    messages = [{"role": "user", "content": "where is my card?"}]
    body = {"model": "local-mid", "messages": messages, "response_format": ENUM, "logprobs": True}
    async with server.post(body) as response:
        whole = await response.json()
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    async with server.post(body) as response:
        assert response.content_type == "text/event-stream"
        events = (await response.read()).decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    chunks = [orjson.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert {(chunk["object"], chunk["id"]) for chunk in chunks} == {("chat.completion.chunk", chunks[0]["id"])}
    deltas = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    assert deltas[0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(delta["delta"].get("content", "") for delta in deltas) == whole["choices"][0]["message"]["content"]
    assert sum(len(delta["logprobs"]["content"]) for delta in deltas if delta["logprobs"]) == len(deltas) - 2
    assert [delta["finish_reason"] for delta in deltas if delta["finish_reason"]] == ["stop"]
    assert chunks[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


async def test_a_stream_has_no_usage_unless_asked(server):
    """Without the option no chunk carries usage."""
    body = {"model": "local-small", "messages": [{"role": "user", "content": "x"}], "stream": True}
    async with server.post(body) as response:
        assert b"usage" not in await response.read()


async def test_the_token_limit_shows_as_length(server):
    """The content is cut and the finish reason says so."""
    _, body, _ = await server.chat(response_format=ENUM, max_tokens=2)
    assert (body["choices"][0]["finish_reason"], body["usage"]["completion_tokens"]) == ("length", 2)
    assert body["choices"][0]["message"]["content"] == '{"'


@pytest.mark.parametrize(
    ("more", "status", "code", "said"),
    [
        ({"model": "gpt-9"}, 404, "model_not_found", "local-small, local-mid, local-large"),
        ({"n": 2}, 400, None, "n is 2"),
        ({"messages": []}, 400, None, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, None, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}, 400, None, "content"),
        ({"logprobs": True, "top_logprobs": 21}, 400, None, "top_logprobs"),
        ({"top_logprobs": 2}, 400, None, "logprobs to be true"),
        ({"max_tokens": 0}, 400, None, "max_tokens"),
        ({"temperature": 3}, 400, None, "temperature"),
        ({"response_format": {"type": "json_schema"}}, 400, None, "response_format"),
        ({"response_format": {"type": "xml"}}, 400, None, "response_format.type"),
    ],
)
async def test_a_wrong_request_gets_the_dialects_error(server, more, status, code, said):
    """The error object says what was wrong and where."""
    got, body, _ = await server.chat(**more)
    assert (got, body["error"]["code"], body["error"]["type"]) == (status, code, "invalid_request_error")
    assert said in body["error"]["message"]


async def test_a_body_that_is_no_json_is_refused(server):
    """Broken JSON is a 400 that says so, and is logged as a call."""
    async with server.session.post(server.url + "/v1/chat/completions", data=b'{"model"') as response:
        assert response.status == 400
        assert "not JSON" in (await response.json())["error"]["message"]
    assert [(line["event"], line.get("status")) for line in server.calls()] == [("began", None), ("ended", 400)]


async def test_a_body_that_is_too_large_is_refused(server):
    """More than 8 MiB is a 413 in the dialect."""
    large = io.BytesIO(b"x" * (8 * 2**20 + 1))
    async with server.session.post(server.url + "/v1/chat/completions", data=large) as response:
        assert response.status == 413
        assert "larger than" in (await response.json())["error"]["message"]


async def test_content_may_come_in_parts(server):
    """Text parts are one text."""
    parts = [{"type": "text", "text": "where is"}, {"type": "text", "text": "my card?"}]
    messages = [{"role": "developer", "content": "Labels: card_arrival, age_limit"}, {"role": "user", "content": parts}]
    _, body, _ = await server.chat(messages=messages)
    assert body["choices"][0]["message"]["content"] == "card_arrival"


async def test_models_and_health_are_listed(server):
    """Both name the three models."""
    names = ["local-small", "local-mid", "local-large"]
    async with server.get("/v1/models") as response:
        listed = await response.json()
    assert (listed["object"], [model["id"] for model in listed["data"]]) == ("list", names)
    async with server.get("/health") as response:
        assert await response.json() == {"status": "ok", "models": names}


@pytest.mark.parametrize(("given", "status"), [(None, 401), ("Bearer wrong", 401), ("Bearer s3cret", 200)])
async def test_an_api_key_is_asked_for_when_one_is_set(serve, given, status):
    """Without the right key a call is refused in the dialect's words."""
    server = await serve(api_key="s3cret")
    got, body, _ = await server.chat(headers={"Authorization": given} if given else {})
    assert got == status
    assert status == 200 or body["error"]["code"] == "invalid_api_key"


async def test_calls_run_side_by_side(serve):
    """Latency is waited out together: fifty calls of 200 ms take far less than ten seconds."""
    server = await serve(constant_latency_ms=200.0)
    began = time.monotonic()
    answers = await asyncio.gather(*(server.chat() for _ in range(50)))
    took = time.monotonic() - began
    assert {status for status, _, _ in answers} == {200}
    assert 0.2 <= took < 5.0

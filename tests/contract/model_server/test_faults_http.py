"""Each fault does over real HTTP what it says; and everything that happens to a call is in the log."""

import asyncio
import time

import aiohttp
import orjson
import pytest

from penstock.local.model_server.faults import Fault

pytestmark = pytest.mark.stack

STREAM = {
    "model": "local-small",
    "messages": [{"role": "user", "content": "where is my card, please?"}],
    "stream": True,
}


def fault(words):
    return {"X-Penstock-Fault": words}


@pytest.mark.parametrize(
    ("words", "status", "retry_after"),
    [("429", 429, None), ("429:7", 429, "7"), ("500", 500, None), ("503", 503, None), ("503:2", 503, "2")],
)
async def test_refusals(server, words, status, retry_after):
    """The status, an error object, and Retry-After only if it was given."""
    got, body, headers = await server.chat(headers=fault(words))
    assert (got, headers.get("Retry-After")) == (status, retry_after)
    assert "on purpose" in body["error"]["message"]


async def test_slow_holds_the_answer_up(server):
    """The answer is right, but late."""
    began = time.monotonic()
    status, _, _ = await server.chat(headers=fault("slow:0.5"))
    assert status == 200
    assert time.monotonic() - began >= 0.5


async def test_malformed_breaks_the_body(server):
    """Status 200 with a body that is no JSON."""
    messages = {"model": "local-small", "messages": [{"role": "user", "content": "x"}]}
    async with server.post(messages, **fault("malformed")) as response:
        assert response.status == 200
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(await response.read())


async def test_truncated_cuts_the_content(server):
    """Half an answer, with the finish reason of the token limit."""
    _, whole, _ = await server.chat(response_format={"type": "json_object"})
    _, cut, _ = await server.chat(response_format={"type": "json_object"}, headers=fault("truncated"))
    assert cut["choices"][0]["finish_reason"] == "length"
    assert whole["choices"][0]["message"]["content"].startswith(cut["choices"][0]["message"]["content"])
    assert cut["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"] // 2


async def test_disconnect_cuts_the_connection(server):
    """The caller gets no response at all."""
    with pytest.raises(aiohttp.ClientConnectionError):
        await server.chat(headers=fault("disconnect"))
    assert server.calls()[-1] | {"call": "", "at": 0} == {
        "event": "ended",
        "call": "",
        "at": 0,
        "attempt": None,
        "model": "local-mid",
        "status": 0,
        "fault": "disconnect",
        "finish_reason": "stop",
        "prompt_tokens": server.calls()[-1]["prompt_tokens"],
        "completion_tokens": 2,
        "client_gone": True,
    }


async def test_a_stream_is_cut(server):
    """Some of the stream arrives, then the connection is gone."""
    async with server.post(STREAM, **fault("disconnect")) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_a_stream_is_malformed(server):
    """Some chunks arrive whole, then one is broken, and the end mark is missing."""
    async with server.post(STREAM, **fault("malformed")) as response:
        *whole, broken, end = (await response.read()).decode().split("\n\n")
    assert len([orjson.loads(chunk.removeprefix("data: ")) for chunk in whole]) == 2
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(broken.removeprefix("data: "))
    assert end == ""


async def test_a_fault_nobody_knows_is_refused(server):
    """A header that can't be understood is the caller's mistake, not a quiet success."""
    status, body, _ = await server.chat(headers=fault("teapot"))
    assert status == 400
    assert "'teapot'" in body["error"]["message"]


async def test_faults_can_be_set_at_start_and_changed_while_running(serve):
    """A running server can be broken, for one model alone, and repaired."""
    server = await serve(faults=(Fault(kind="500"),))
    assert (await server.chat())[0] == 500
    wanted = {"faults": [{"kind": "503", "times": 1, "model": "local-mid"}]}
    async with server.post(wanted, "/admin/faults") as response:
        assert response.status == 200
    assert [(await server.chat(model=name))[0] for name in ("local-small", "local-mid", "local-mid")] == [200, 503, 200]
    async with server.post([], "/admin/faults") as response:
        assert await response.json() == {"faults": []}


async def test_latency_can_be_changed_while_running(server):
    """A running server can be slowed down."""
    async with server.post({"models": {"local-mid": 300}}, "/admin/latency") as response:
        assert (await response.json())["models"]["local-mid"] == 300.0
    began = time.monotonic()
    await server.chat()
    assert time.monotonic() - began > 0.15


@pytest.mark.parametrize(
    ("path", "body"), [("/admin/faults", ["teapot"]), ("/admin/faults", {}), ("/admin/latency", {"models": {"gpt": 1}})]
)
async def test_a_wrong_switch_is_refused(server, path, body):
    """The switch stays as it was, and the answer says why."""
    async with server.post(body, path) as response:
        assert response.status == 400
        assert (await response.json())["error"]["message"]


async def test_web_pages_can_not_use_the_switches(server):
    """A body that is not declared as JSON is refused, so a page in a browser can't send one unasked."""
    async with server.session.post(server.url + "/admin/faults", data=b"[]") as response:
        assert response.status == 415


async def test_every_call_is_logged_when_it_begins_and_when_it_ends(server):
    """Two lines with the caller's attempt id; an open call is counted as open."""
    slow = asyncio.ensure_future(server.chat(headers={"X-Penstock-Attempt": "t/j/0/1/1", **fault("slow:0.4")}))
    await server.called()
    async with server.get("/admin/calls") as response:
        assert await response.json() == {"open": 1, "began": 1, "ended": 0}
    await slow
    began, ended = server.calls()
    assert (began["event"], began["attempt"], began["model"], len(began["sha256"])) == (
        "began",
        "t/j/0/1/1",
        "local-mid",
        64,
    )
    assert (ended["event"], ended["call"], ended["status"], ended["fault"]) == ("ended", began["call"], 200, "slow")
    assert ended["at"] - began["at"] >= 0.4
    async with server.get("/admin/calls") as response:
        assert await response.json() == {"open": 0, "began": 1, "ended": 1}

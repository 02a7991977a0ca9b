import asyncio
import gc
import json
import socket
import time
from collections import Counter

import pytest
from aiohttp import web

from processors.models import ProviderSettings, read_models
from processors.problems import CredentialError
from processors.providers import calls
from processors.providers.errors import ErrorClass
from processors.providers.guarded import GuardedProvider
from processors.providers.http import HttpProvider, connect
from processors.providers.port import Failure, Reply
from processors.providers.scripted import Canned, answer

MODELS = """
[providers.p]
base_url = "http://127.0.0.1:1/v1"
api_key_env = "SOME_KEY"
[models.m]
provider = "p"
id = "m"
tier = "A"
"""


async def test_the_attempts_id_and_the_key_travel_as_headers(server, ask):
    """The server can compare what it was asked with what was recorded; an id beyond ASCII is percent-encoded."""
    server.canned = answer("Hi")
    provider = HttpProvider(ProviderSettings(base_url=server.base_url), api_keys=("secret",))
    await provider.complete(ask())
    await provider.complete(ask(attempt_id="café/job/0/0/1"))
    await provider.aclose()
    first, second = (headers for headers, _ in server.seen)
    assert first["X-Penstock-Attempt"] == "acme/job-1/0/0/1"
    assert second["X-Penstock-Attempt"] == "caf%C3%A9/job/0/0/1"
    assert first["Authorization"] == "Bearer secret"
    assert first["Content-Type"] == "application/json"


def test_a_key_does_not_show():
    """Neither a log line nor a traceback gives it away."""
    provider = HttpProvider(ProviderSettings(base_url="http://127.0.0.1:1/v1"), api_keys=("secret",))
    assert "secret" not in repr(provider)


async def test_nobody_listening_is_a_failure_that_cost_nothing(ask):
    """A refused connection never reached a model."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        provider = HttpProvider(ProviderSettings(base_url=f"http://127.0.0.1:{port}/v1"))
        failure = await provider.complete(ask())
        await provider.aclose()
    assert isinstance(failure, Failure)
    assert (failure.error_class, failure.may_have_run) == (ErrorClass.RETRYABLE_HERE, False)
    assert "not connected" in failure.error


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:99999/v1", "http:///v1"])
async def test_a_wrong_address_is_ours_to_fix(ask, base_url):
    """Waiting mends no URL."""
    try:
        provider = HttpProvider(ProviderSettings(base_url=base_url))
    except ValueError:
        return
    failure = await provider.complete(ask())
    await provider.aclose()
    assert failure.error_class is ErrorClass.OURS_TO_FIX


async def test_calls_in_flight_are_bounded(server, ask):
    """max_in_flight calls at once, the others wait their turn and all are answered."""
    server.canned = Canned(answer("Hi").body, after_s=0.01)
    provider = GuardedProvider("p", HttpProvider(ProviderSettings(base_url=server.base_url)), time.monotonic, 3)
    replies = await asyncio.gather(*(provider.complete(ask()) for _ in range(20)))
    await provider.aclose()
    assert all(isinstance(reply, Reply) for reply in replies)
    assert server.most_in_flight == 3


async def test_waiting_for_a_slot_ends_with_the_deadline(server, ask):
    """A job that can't get a slot in time fails without a call and without cost."""
    server.canned = Canned(answer("Hi").body, after_s=0.5)
    provider = GuardedProvider("p", HttpProvider(ProviderSettings(base_url=server.base_url)), time.monotonic, 1)
    first = asyncio.create_task(provider.complete(ask()))
    await server.called.wait()
    failure = await provider.complete(ask(left_s=0.05))
    assert isinstance(failure, Failure)
    assert (failure.error_class, failure.may_have_run) == (ErrorClass.RETRYABLE_ELSEWHERE, False)
    assert isinstance(await first, Reply)
    assert len(server.seen) == 1
    await provider.aclose()


@pytest.mark.parametrize(
    ("says", "seen"),
    [
        ([True, True, False, True, True], 2),
        ([True, False, True, True, True, True], 2),  # while the connection was made time has passed
    ],
)
async def test_what_is_asked_before_a_call_may_prevent_it(server, ask, says, seen):
    """It is asked when the call has its slot and its connection; a refusal makes no request and gives the slot back."""
    server.canned = answer("Hi")
    ours = iter(says)

    async def before_call():
        if not next(ours):
            raise LookupError

    within = HttpProvider(ProviderSettings(base_url=server.base_url), before_call=before_call)
    provider = GuardedProvider("p", within, time.monotonic, 1)
    ended = [await asyncio.gather(provider.complete(ask()), return_exceptions=True) for _ in range(3)]
    await provider.aclose()
    assert sum(isinstance(one, Reply) for [one] in ended) == seen
    assert sum(isinstance(one, LookupError) for [one] in ended) == 1
    assert len(server.seen) == seen


async def test_what_found_no_connection_in_time_reached_nobody(server, ask):
    """A call whose time is over before it can be sent is one that was not: it cost nothing."""
    waits = iter([0, 5])

    async def before_call():
        await asyncio.sleep(next(waits))

    provider = HttpProvider(ProviderSettings(base_url=server.base_url), before_call=before_call)
    failure = await provider.complete(ask(total_timeout_s=0.1))
    await provider.aclose()
    assert isinstance(failure, Failure)
    assert (failure.may_have_run, server.seen) == (False, [])


async def test_a_response_beyond_all_bounds_is_dropped(server, ask, monkeypatch):
    """Memory is not at the mercy of a server."""
    monkeypatch.setattr(calls, "MAX_RESPONSE_BYTES", 1000)
    server.canned = Canned(b"x" * 5000)
    provider = HttpProvider(ProviderSettings(base_url=server.base_url))
    failure = await provider.complete(ask())
    await provider.aclose()
    assert "exceeds 1000 bytes" in failure.error


class Stream:
    """A server that answers with these pieces of an event stream, waiting so many seconds before each."""

    def __init__(self, *pieces, ends=True):
        self.pieces, self.ends = pieces, ends

    async def handle(self, request):
        """Answer one call."""
        await request.read()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for wait_s, piece in self.pieces:
            await asyncio.sleep(wait_s)
            await response.write(piece)
        if not self.ends:
            request.transport.abort()
        return response


def _chunk(text="", **more):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None} | more
    return b"data: " + json.dumps({"model": "m-1", "choices": [choice]}).encode() + b"\n\n"


END = _chunk(finish_reason="stop")
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\ndata: [DONE]\n\n'


@pytest.fixture
async def streamed(ask):
    """Give a function that calls a server which answers with a stream."""
    runners = []

    async def call(stream, **limits):
        app = web.Application()
        app.router.add_post("/v1/chat/completions", stream.handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        provider = HttpProvider(ProviderSettings(base_url=f"http://127.0.0.1:{runner.addresses[0][1]}/v1"))
        try:
            return await provider.complete(ask(stream=True, **limits))
        finally:
            await provider.aclose()

    yield call
    for runner in runners:
        await runner.cleanup()


async def test_a_streams_pieces_are_one_answer(streamed):
    """Text, usage and model from all pieces, however they are cut, and when the first text came."""
    whole = b": hello\n\n" + _chunk() + _chunk("He") + _chunk("llo") + END + USAGE
    reply = await streamed(Stream((0, whole[:30]), (0.05, whole[30:200]), (0, whole[200:])))
    assert isinstance(reply, Reply)
    assert (reply.text, reply.exchange.model, reply.exchange.finish_reason) == ("Hello", "m-1", "stop")
    assert (reply.exchange.usage.input_tokens, reply.exchange.usage.output_tokens) == (7, 2)
    assert reply.exchange.first_token_ms >= 50
    assert reply.exchange.response == whole.decode()


@pytest.mark.parametrize(
    ("stream", "limits", "said", "partial"),
    [
        (Stream((5, b"")), {"first_token_timeout_s": 0.1}, "no answer began within 0.1 s", None),
        (Stream((0, _chunk("He")), (5, END)), {"between_tokens_timeout_s": 0.1}, "stopped for 0.1 s", "He"),
        (Stream((0, _chunk("He")), (5, END)), {"total_timeout_s": 0.2}, "no answer within 0.2 s", "He"),
    ],
)
async def test_a_stream_that_does_not_go_on_is_given_up(streamed, stream, limits, said, partial):
    """Not begun, stopped, or too long in all: each is a failure that may have cost, with what had come."""
    failure = await streamed(stream, **limits)
    assert isinstance(failure, Failure)
    assert (failure.error_class, failure.may_have_run) == (ErrorClass.RETRYABLE_ELSEWHERE, True)
    assert said in failure.error
    assert (failure.exchange.response is None) if partial is None else (partial in failure.exchange.response)


@pytest.mark.parametrize("ends", [True, False])
async def test_a_cut_stream_is_no_answer(streamed, ends):
    """An answer without its end fails the attempt, whether the connection was closed or broke."""
    failure = await streamed(Stream((0, _chunk("He")), (0.01, _chunk("llo")), ends=ends))
    assert isinstance(failure, Failure)
    assert (failure.error_class, failure.may_have_run) == (ErrorClass.RETRYABLE_HERE, True)
    assert "He" in failure.exchange.response


async def test_an_error_in_a_stream_fails_the_attempt(streamed):
    """After the first piece too: nothing is pieced together from two attempts."""
    error = b'data: {"error":{"code":"server_overloaded","message":"too busy"}}\n\ndata: [DONE]\n\n'
    failure = await streamed(Stream((0, _chunk("He")), (0, error)))
    assert isinstance(failure, Failure)
    assert failure.error_class is ErrorClass.RETRYABLE_HERE
    assert "too busy" in failure.error


async def test_who_answers_a_stream_at_once_is_understood(server, ask):
    """Some servers know no streams: their whole answer counts as well."""
    server.canned = answer("Hi")
    provider = HttpProvider(ProviderSettings(base_url=server.base_url))
    reply = await provider.complete(ask(stream=True, first_token_timeout_s=5, between_tokens_timeout_s=5))
    await provider.aclose()
    assert isinstance(reply, Reply)
    assert reply.exchange.first_token_ms is None


async def test_closing_leaves_nothing_open(server, ask):
    """A provider that never called closes too; after closing no connection is left to warn about."""
    await HttpProvider(ProviderSettings(base_url=server.base_url)).aclose()
    server.canned = answer("Hi")
    provider = HttpProvider(ProviderSettings(base_url=server.base_url))
    assert isinstance(await provider.complete(ask()), Reply)
    await provider.aclose()
    del provider
    gc.collect()


async def test_providers_are_made_from_models_with_their_keys_from_the_environment():
    """A key that is named and missing is said before the first job."""
    models = read_models("models.toml", MODELS, {}, {})
    with pytest.raises(CredentialError, match="provider p wants SOME_KEY"):
        connect(models, {})
    made = connect(models, {"SOME_KEY": "secret"})
    assert list(made) == ["p"]
    await made["p"].aclose()


async def test_between_leave_and_wire_nothing_else_runs(server, ask, monkeypatch):
    """However many calls begin at once, each is written in the step in which it was asked for leave."""
    happened, asked = [], Counter()
    bytes_on_the_wire = calls.Call.sent

    async def before_call():
        asked[asyncio.current_task()] += 1
        happened.append(("leave", asyncio.current_task()))

    def sent(call):
        happened.append(("written", asyncio.current_task()))
        bytes_on_the_wire(call)

    monkeypatch.setattr(calls.Call, "sent", sent)
    server.canned = answer("Hi")
    provider = HttpProvider(ProviderSettings(base_url=server.base_url), before_call=before_call)
    await asyncio.gather(*(provider.complete(ask(attempt_id=f"t/j{n}/0/0/1")) for n in range(40)))
    await provider.aclose()
    for place, (what, task) in enumerate(happened):
        if what == "written":
            assert happened[place - 1] == ("leave", task)
    assert sum(what == "written" for what, _ in happened) == 40


async def test_many_calls_that_lost_their_jobs_while_they_were_begun_are_not_made(server, ask):
    """A process frozen after its calls had leave asks again as it writes: none of them arrives."""
    frozen = False

    async def before_call():
        if frozen:
            raise RuntimeError("not ours any more")

    provider = HttpProvider(ProviderSettings(base_url=server.base_url), before_call=before_call)
    begun = [asyncio.create_task(provider.complete(ask(attempt_id=f"t/j{n}/0/0/1"))) for n in range(40)]
    await asyncio.sleep(0)  # all have had leave, none is written
    frozen = True
    found = await asyncio.gather(*begun, return_exceptions=True)
    await provider.aclose()
    assert {str(one) for one in found} == {"not ours any more"}
    assert server.seen == []

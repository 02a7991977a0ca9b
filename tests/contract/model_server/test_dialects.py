"""Every dialect that the server speaks, asked and read by the code that calls real providers."""

import json

import orjson
import pytest

from penstock.local import banking77
from penstock.local.model_server.faults import parse
from processors.models import Dialect, Model, ProviderSettings
from processors.providers.errors import ErrorClass
from processors.providers.http import HttpProvider
from processors.providers.port import ChatMessage, CompletionRequest, Failure, OfferedTool, Reply, Structure

pytestmark = pytest.mark.stack

DIALECTS = (Dialect.OPENAI_CHAT, Dialect.OPENAI_RESPONSES, Dialect.ANTHROPIC)
TURNS = (
    ChatMessage("system", "Classify the message.\n\nLabels:\n" + banking77.described_labels()),
    ChatMessage("user", "where is my card?"),
)
INTENT = orjson.Fragment(
    orjson.dumps(
        {
            "type": "object",
            "properties": {"intent": {"type": "string", "enum": list(banking77.labels())}},
            "required": ["intent"],
            "additionalProperties": False,
        }
    )
)
ORDERS = OfferedTool(
    "order_state",
    "The state of an order, by its number.",
    orjson.Fragment(
        b'{"type":"object","properties":{"order_number":{"type":"string"}},"required":["order_number"]}',
    ),
)
STATE = orjson.Fragment(b'{"type":"object","properties":{"state":{"type":"string"}},"required":["state"]}')


@pytest.fixture
async def ask(serve):
    """Give a function that makes one call in a dialect."""
    opened = []

    async def call(dialect, *, server=None, keys=(), **changes):
        served = server or await serve()
        provider = HttpProvider(ProviderSettings(base_url=served.url + "/v1", dialect=dialect), keys)
        opened.append(provider)
        fields = {
            "attempt_id": "acme/job-1/0/0/1",
            "model": Model(provider="p", id="local-mid", tier="A"),
            "messages": TURNS,
            "max_tokens": 60,
            "total_timeout_s": 10.0,
            "left_s": 10.0,
        }
        return await provider.complete(CompletionRequest(**fields | changes))

    yield call
    for provider in opened:
        await provider.aclose()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_same_question_has_the_same_answer(ask, dialect, stream):
    """Text, usage, the model and why it stopped, in whatever words; a stream is read as one."""
    pieces = []
    reply = await ask(
        dialect, output_schema=INTENT, structure=Structure.NATIVE, stream=stream, on_text=pieces.append, temperature=0
    )
    assert isinstance(reply, Reply), reply
    assert json.loads(reply.text) == {"intent": "card_arrival"}
    assert reply.exchange.model == "local-mid"
    assert reply.exchange.usage.input_tokens > 1_000
    assert 3 <= reply.exchange.usage.output_tokens <= 20
    assert "".join(pieces) == (reply.text if stream else "")
    assert (reply.exchange.first_token_ms is not None) == stream


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", [Dialect.OPENAI_CHAT, Dialect.OPENAI_RESPONSES])
async def test_probabilities_come_where_the_dialect_has_them(ask, dialect, stream):
    """Tokens joined are the text, each with its logarithm of probability; Anthropic's has none."""
    reply = await ask(dialect, output_schema=INTENT, structure=Structure.NATIVE, stream=stream, logprobs=True)
    assert "".join(reply.tokens) == reply.text
    assert all(value <= 0 for value in reply.logprobs)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_answer_may_be_a_tools_arguments(ask, dialect, stream):
    """Where the schema is given as a tool that must be called, what is written into it is the answer."""
    reply = await ask(dialect, output_schema=INTENT, structure=Structure.TOOL, stream=stream)
    assert isinstance(reply, Reply), reply
    assert json.loads(reply.text) == {"intent": "card_arrival"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("structure", [Structure.NATIVE, Structure.TOOL])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_tool_is_asked_for_and_its_answer_used(ask, serve, dialect, structure, stream):
    """The model finds the arguments in the text, has the tool called, and takes over what it says."""
    server = await serve()
    turns = (ChatMessage("system", "Say where the order is."), ChatMessage("user", "Where is my order AB1234 now?"))
    how = {"output_schema": STATE, "structure": structure, "stream": stream, "tools": (ORDERS,), "server": server}
    wished = await ask(dialect, messages=turns, **how)
    assert isinstance(wished, Reply), wished
    (call,) = wished.tool_calls
    assert (call.name, json.loads(call.arguments)) == ("order_state", {"order_number": "AB1234"})
    more = (
        *turns,
        ChatMessage("assistant", "", tool_calls=wished.tool_calls),
        ChatMessage("tool", '{"data":{"state":"shipped"}}', answers=call.id, name=call.name),
    )
    reply = await ask(dialect, messages=more, **how)
    assert isinstance(reply, Reply), reply
    assert json.loads(reply.text) == {"state": "shipped"}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_who_must_answer_calls_nothing(ask, dialect):
    """With tools on offer and none allowed, the model answers from what it has."""
    turns = (ChatMessage("user", "Where is my order AB1234 now?"),)
    reply = await ask(
        dialect, messages=turns, output_schema=STATE, structure=Structure.NATIVE, tools=(ORDERS,), must_answer=True
    )
    assert reply.tool_calls == ()
    assert json.loads(reply.text).keys() == {"state"}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("fault", "error_class"),
    [("429:1:7", ErrorClass.WAIT_UNTIL), ("500", ErrorClass.RETRYABLE_HERE), ("503", ErrorClass.RETRYABLE_HERE)],
)
async def test_refusals_are_in_the_dialects_words(ask, serve, dialect, fault, error_class):
    """Each is read as what it is, with the wait that is asked for."""
    failure = await ask(dialect, server=await serve(faults=(parse(fault),)))
    assert isinstance(failure, Failure)
    assert failure.error_class is error_class
    assert failure.retry_after_s == (7.0 if "429" in fault else None)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_cut_answer_is_no_answer(ask, serve, dialect, stream):
    """At the limit of tokens it is truncated; where the connection breaks it is cut."""
    server = await serve()
    short = await ask(
        dialect, server=server, output_schema=INTENT, structure=Structure.NATIVE, max_tokens=2, stream=stream
    )
    assert short.error_class is ErrorClass.TRUNCATED
    broken = await ask(dialect, server=await serve(faults=(parse("disconnect"),)), stream=stream)
    assert broken.error_class is ErrorClass.RETRYABLE_HERE


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_keys_are_asked_for_in_the_dialects_header(ask, serve, dialect):
    """The right key opens, a wrong one and none are dead credentials."""
    server = await serve(api_key="secret")
    assert isinstance(await ask(dialect, server=server, keys=("secret",)), Reply)
    for keys in ((), ("wrong",)):
        assert (await ask(dialect, server=server, keys=keys)).error_class is ErrorClass.CREDENTIAL_DEAD


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/v1/responses", {"model": "local-mid", "input": 5}, "'input'"),
        ("/v1/messages", {"model": "local-mid", "messages": []}, "max_tokens"),
        ("/v1/messages", {"model": "local-mid", "messages": "x", "max_tokens": 5}, "messages"),
        (
            "/v1/messages",
            {"model": "none", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5},
            "exist",
        ),
    ],
)
async def test_what_is_wrong_is_named(serve, path, body, said):
    """A request that can't be read gets an error object in its dialect, with the part that is wrong."""
    served = await serve()
    async with served.post(body, path) as response:
        error = await response.json()
        assert response.status in (400, 404)
    assert said in error["error"]["message"]
    assert (error.get("type") == "error") == (path == "/v1/messages")


async def test_a_scenario_is_played_scene_by_scene(ask, serve):
    """So many calls, then the next scene, then nothing goes wrong any more; nonsense is refused."""
    server = await serve()
    scenes = [{"faults": ["503"], "calls": 2}, {"faults": ["429:1:3"], "calls": 1}]
    async with server.post(scenes, "/admin/scenario") as response:
        assert response.status == 200
    found = [await ask(Dialect.OPENAI_CHAT, server=server) for _ in range(4)]
    assert [one.exchange.http_status for one in found] == [503, 503, 429, 200]
    for wrong in ([{"faults": ["503"]}], [{"faults": ["nonsense"], "calls": 1}], {"faults": []}):
        async with server.post(wrong, "/admin/scenario") as response:
            assert response.status == 400

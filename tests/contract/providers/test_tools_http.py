"""Tools over real HTTP: what goes out, and what every way of not answering is."""

import asyncio
import json
import socket

import pytest
from aiohttp import web

from processors.providers.tools_http import HttpTools
from processors.tools.definitions import read_tools

DEFINITION = """
description = "The state of an order."
url = "{url}"
timeout_s = 1
max_bytes = 2000
{more}
[input]
type = "object"
[output]
type = "object"
"""


def tool(url, more=""):
    tools, problems = read_tools({"tools/orders.toml": DEFINITION.format(url=url, more=more)})
    assert not problems
    return tools["orders"]


class Orders:
    """A tool's server that answers as it is told and keeps what it was asked."""

    def __init__(self):
        self.seen = []
        self.answers = lambda _: web.json_response({"state": "shipped"})

    async def handle(self, request):
        self.seen.append((request.method, request.path_qs, request.headers.copy(), await request.text()))
        found = self.answers(request)
        return await found if asyncio.iscoroutine(found) else found


@pytest.fixture
async def orders():
    """A running server, and its address."""
    made = Orders()
    app = web.Application()
    app.router.add_route("*", "/{anything:.*}", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/orders"
    yield made
    await runner.cleanup()


@pytest.fixture
async def tools():
    """A caller with one secret in its environment."""
    made = HttpTools(environ={"TOOL_ORDERS_KEY": "s3cret", "TOOL_EMPTY": ""})
    yield made
    await made.aclose()


async def test_arguments_and_key_arrive(orders, tools):
    """A POST carries the arguments as JSON, the idempotency key and the secret as headers."""
    found = await tools.call(tool(orders.url, 'key_env = "TOOL_ORDERS_KEY"'), {"order": "é1"}, "k1", 1.0)
    assert (found.status, json.loads(found.body), found.error) == (200, {"state": "shipped"}, None)
    ((method, path, headers, body),) = orders.seen
    assert (method, path, json.loads(body)) == ("POST", "/orders", {"order": "é1"})
    assert (headers["Idempotency-Key"], headers["Authorization"]) == ("k1", "Bearer s3cret")


async def test_a_get_asks_in_its_query(orders, tools):
    """Arguments are encoded: none of them can change the address."""
    await tools.call(tool(orders.url, 'method = "GET"'), {"order": "a&admin=1", "n": 2}, "k1", 1.0)
    ((method, path, _, body),) = orders.seen
    assert (method, path, body) == ("GET", "/orders?order=a%26admin%3D1&n=2", "")


@pytest.mark.parametrize(("status", "again"), [(500, True), (503, True), (429, True), (404, False), (302, False)])
async def test_a_refusal_says_whether_another_try_could_help(orders, tools, status, again):
    """Errors of the moment are worth another try, others are not; a redirect is not followed."""
    orders.answers = lambda _: web.Response(status=status, headers={"Location": "/elsewhere", "Retry-After": "3"})
    found = await tools.call(tool(orders.url), {}, "k1", 1.0)
    assert (found.status, found.error, found.again, found.arrived) == (status, f"HTTP {status}", again, True)
    assert found.retry_after_s == (3.0 if status in (429, 503) else None)
    assert len(orders.seen) == 1


async def test_a_tool_that_does_not_answer_is_given_up(orders, tools):
    """It may have worked: that is said."""

    async def late():
        await asyncio.sleep(5)
        return web.Response()

    orders.answers = lambda _: late()
    found = await tools.call(tool(orders.url), {}, "k1", 0.2)
    assert (found.error, found.arrived, found.again) == ("no answer within 0.2 s", True, True)


async def test_an_answer_without_an_end_is_cut(orders, tools):
    """A tool can't fill the memory: beyond its limit nothing is read."""
    orders.answers = lambda _: web.Response(body=b"x" * 3000)
    found = await tools.call(tool(orders.url), {}, "k1", 1.0)
    assert (found.error, found.body) == ("its answer exceeds 2000 bytes", b"")


async def test_a_tool_that_hangs_up_may_have_worked(orders, tools):
    """A connection that breaks in the middle leaves it open what happened."""

    def hang_up(request):
        request.transport.close()
        return web.Response()

    orders.answers = hang_up
    found = await tools.call(tool(orders.url), {}, "k1", 1.0)
    assert found.error.startswith(("the connection broke", "it can't be reached"))
    assert found.again


async def test_nobody_there_was_not_called(tools):
    """A refused connection is known to have done nothing."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        found = await tools.call(tool(f"http://127.0.0.1:{taken.getsockname()[1]}/"), {}, "k1", 1.0)
    assert (found.arrived, found.again) == (False, True)
    assert "can't be reached" in found.error


async def test_without_its_secret_a_tool_is_not_called(orders, tools):
    """The error names the variable, and nothing else of the environment."""
    found = await tools.call(tool(orders.url, 'key_env = "TOOL_MISSING"'), {}, "k1", 1.0)
    assert (found.error, found.arrived) == ("TOOL_MISSING is not in the environment", False)
    assert not orders.seen


async def test_who_may_not_call_any_more_does_not(orders):
    """A process that has lost its job is stopped at the last moment."""

    async def refuse():
        raise RuntimeError("not ours")

    tools = HttpTools(refuse, environ={})
    with pytest.raises(RuntimeError, match="not ours"):
        await tools.call(tool(orders.url), {}, "k1", 1.0)
    await tools.aclose()
    assert not orders.seen

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
    """Arguments are encoded, beside what the address itself asks: none of them can change it."""
    asked = {"order": "a&admin=1", "n": 2, "open": True, "in": {"eu": 1}, "none": None}
    await tools.call(tool(orders.url + "?version=3", 'method = "GET"'), asked, "k1", 1.0)
    await tools.call(tool(orders.url + "?version=3", 'method = "GET"'), {}, "k1", 1.0)
    (method, path, _, body), (_, again, _, _) = orders.seen
    assert (method, body) == ("GET", "")
    assert path == "/orders?version=3&order=a%26admin%3D1&n=2&open=true&in=%7B%22eu%22:1%7D"
    assert again == "/orders?version=3"


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
    assert (found.arrived, found.again) == (True, True)
    assert found.error.startswith("cut")


async def test_nobody_there_was_not_called(tools):
    """A refused connection is known to have done nothing."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        found = await tools.call(tool(f"http://127.0.0.1:{taken.getsockname()[1]}/"), {}, "k1", 1.0)
    assert (found.arrived, found.again) == (False, True)
    assert found.error.startswith("not connected")


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


async def test_leave_is_asked_when_there_is_a_connection(orders):
    """A job that was lost while the connection was made has nothing called for it."""
    asked = []

    async def lost():
        asked.append(len(orders.seen))
        raise RuntimeError("not ours")

    tools = HttpTools(lost, environ={})
    for method in ("POST", "GET"):
        with pytest.raises(RuntimeError, match="not ours"):
            await tools.call(tool(orders.url, f'method = "{method}"'), {}, "k1", 1.0)
    await tools.aclose()
    assert (asked, orders.seen) == ([0, 0], [])


async def test_no_cookie_goes_from_one_job_to_the_next(orders, tools):
    """What a tool wants remembered of one tenant is not told it by another."""
    orders.answers = lambda _: web.json_response({}, headers={"Set-Cookie": "session=tenantA"})
    for _ in range(2):
        await tools.call(tool(orders.url), {}, "k1", 1.0)
    assert all("Cookie" not in headers for _, _, headers, _ in orders.seen)


@pytest.mark.parametrize(
    "sent",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nxyz",
        b"",
    ],
)
async def test_whatever_a_server_sends_is_a_value(tools, sent):
    """Bytes that are no HTTP, or a lie, are an answer that may have followed an effect; the address is not told."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/secret-path"
    found = await tools.call(tool(url), {}, "k1", 1.0)
    server.close()
    assert found.arrived
    assert found.error is None or "secret-path" not in found.error
    assert found.error is not None or found.body == b"xyz"


@pytest.mark.parametrize(
    ("url", "environ"),
    [
        ("http://svc:pa55@127.0.0.1:9/", {}),
        ("http://svc:pa55/w0rd@127.0.0.1/", {}),
        ("${TOOL_URL}", {"TOOL_URL": "http://svc:pa55/w0rd@host"}),
        ("${TOOL_URL}", {}),
    ],
)
async def test_an_address_that_is_none_says_nothing_of_itself(url, environ):
    """What is wrong with it is told without it: it may hold a secret."""
    tools = HttpTools(environ=environ)
    found = await tools.call(tool(url), {}, "k1", 1.0)
    await tools.aclose()
    assert found.error
    assert not found.arrived
    assert not found.again
    assert "pa55" not in found.error


async def test_a_secret_with_a_line_end_is_trimmed(orders):
    """As files and shells leave it behind a key."""
    tools = HttpTools(environ={"TOOL_ORDERS_KEY": "s3cret\n"})
    await tools.call(tool(orders.url, 'key_env = "TOOL_ORDERS_KEY"'), {}, "k1", 1.0)
    await tools.aclose()
    assert orders.seen[0][2]["Authorization"] == "Bearer s3cret"

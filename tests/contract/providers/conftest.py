import asyncio
import json

import pytest
from aiohttp import web

from processors.models import Model, ProviderSettings
from processors.providers.errors import Break
from processors.providers.http import HttpProvider
from processors.providers.port import ChatMessage, CompletionRequest
from processors.providers.scripted import Canned, ScriptedProvider


@pytest.fixture
def ask():
    """Give a function that makes a request."""

    def make(**changes):
        fields = {
            "attempt_id": "acme/job-1/0/0/1",
            "model": Model(provider="p", id="m-1", tier="A"),
            "messages": (ChatMessage("user", "hello"),),
            "max_tokens": 5,
            "total_timeout_s": 5.0,
            "left_s": 10.0,
        }
        return CompletionRequest(**(fields | changes))

    return make


class Server:
    """A real HTTP server that answers as its script says and keeps what it was sent."""

    def __init__(self):
        self.seen = []
        self.canned = Canned()
        self.in_flight = self.most_in_flight = 0
        self.called = asyncio.Event()

    async def handle(self, request):
        """Answer one call."""
        body = await request.read()
        self.seen.append((request.headers.copy(), json.loads(body)))
        canned = self.canned
        self.called.set()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if canned.after_s:
                await asyncio.sleep(canned.after_s)
            if canned.breaks is Break.CUT:
                request.transport.abort()
            return web.Response(body=canned.body, status=canned.status, headers=dict(canned.headers))
        finally:
            self.in_flight -= 1


@pytest.fixture
async def server():
    """A server on a free port of the loopback interface."""
    place = Server()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", place.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    place.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield place
    await runner.cleanup()


@pytest.fixture(params=["scripted", "http"])
async def provider(request, server):
    """Give each provider in turn with a function that sets what it meets."""
    if request.param == "scripted":
        made = ScriptedProvider(lambda _: server.canned)
    else:
        made = HttpProvider(ProviderSettings(base_url=server.base_url))

    def meets(canned):
        server.canned = canned
        return made

    yield meets
    await made.aclose()

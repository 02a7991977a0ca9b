import asyncio

import orjson
import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from penstock.local import banking77
from penstock.local.model_server.server import ModelServer
from penstock.local.model_server.settings import Settings

LABELS = "Classify the message.\n\nLabels:\n" + banking77.described_labels()


class Served:
    """A running server, and a client of it."""

    def __init__(self, session, url, calls):
        self.session, self.url, self.calls_file = session, url, calls

    def post(self, body, path="/v1/chat/completions", **headers):
        return self.session.post(self.url + path, json=body, headers=headers)

    def get(self, path):
        return self.session.get(self.url + path)

    async def chat(self, text="where is my card?", *, headers=None, **more):
        messages = [{"role": "system", "content": LABELS}, {"role": "user", "content": text}]
        async with self.post({"model": "local-mid", "messages": messages, **more}, **headers or {}) as response:
            return response.status, await response.json(), response.headers

    async def called(self):
        """Wait until a call has begun."""
        async with asyncio.timeout(20):
            while not self.calls():  # noqa: ASYNC110 - what is waited for is a file
                await asyncio.sleep(0.01)

    def calls(self):
        return [orjson.loads(line) for line in self.calls_file.read_bytes().splitlines()]


@pytest.fixture
async def serve(models, tmp_path):
    """Starts servers in this process with the settings given, and stops them afterwards."""
    running = []

    async def start(**settings):
        settings = {"constant_latency_ms": 0.0, **settings}
        server = TestServer(ModelServer(Settings(data=tmp_path, **settings), models).app())
        await server.start_server()
        session = ClientSession()
        running.append((server, session))
        return Served(session, str(server.make_url("")).rstrip("/"), tmp_path / "calls.jsonl")

    yield start
    for server, session in running:
        await session.close()
        await server.close()


@pytest.fixture
async def server(serve):
    return await serve()

"""A provider that always answers the same after a constant time: what a benchmark calls instead of a model.

It speaks the dialect of OpenAI's chat completions and answers as cheaply as it can, so that the CPU it takes from the
machine's other core is small and the same for everyone who is measured against it.
"""

import argparse
import asyncio
import contextlib
import math
import time
from typing import Final

import orjson
import uvloop
from aiohttp import web

ANSWER: Final = '{"intent": "card_arrival"}'
TOKENS: Final = ('{"', "intent", '":', ' "', "card", "_arrival", '"}')
PROBABILITY: Final = 0.9999
"""Of each token: enough for the first rung to be accepted."""


def completion(model: str) -> bytes:
    """The one answer, with the probabilities of its tokens."""
    pieces = [
        {"token": token, "logprob": math.log(PROBABILITY), "bytes": list(token.encode()), "top_logprobs": []}
        for token in TOKENS
    ]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": ANSWER, "refusal": None},
        "logprobs": {"content": pieces, "refusal": None},
        "finish_reason": "stop",
    }
    usage = {"prompt_tokens": 2_000, "completion_tokens": len(TOKENS), "total_tokens": 2_000 + len(TOKENS)}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": model}
    return orjson.dumps({**head, "choices": [choice], "usage": usage})


class Upstream:
    """Answers every call after `latency_s` seconds, counted from its arrival."""

    def __init__(self, latency_s: float, model: str) -> None:
        self._latency_s = latency_s
        self._body = completion(model)
        self._open = 0

    async def chat(self, request: web.Request) -> web.Response:
        """The route of the calls."""
        arrived = time.perf_counter()
        self._open += 1
        try:
            await request.read()
            await asyncio.sleep(max(0.0, self._latency_s - (time.perf_counter() - arrived)))
        finally:
            self._open -= 1
        return web.Response(body=self._body, content_type="application/json")

    async def open(self, _: web.Request) -> web.Response:
        """How many calls are under way."""
        return web.json_response(self._open)

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=8 * 2**20)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_get("/open", self.open)
        return app


async def serve(latency_s: float, model: str) -> None:
    """Listen on a free port of loopback, print it, and serve until the process is ended."""
    runner = web.AppRunner(Upstream(latency_s, model).app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"ready http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """The child process."""
    parser = argparse.ArgumentParser(description="A provider of constant latency.")
    parser.add_argument("--latency-ms", type=float, required=True)
    parser.add_argument("--model", default="local-small")
    told = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(told.latency_ms / 1000, told.model))


if __name__ == "__main__":
    main()

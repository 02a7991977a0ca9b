"""The bare loop: consume, call the provider, produce. What a user would write instead; the other contestant.

Equal to the pipeline in what the comparison needs: concurrency, linger, the HTTP transport, the request's content, one
consumer thread that hands batches to the loop. It has nothing else: no checks, no record of what it did, and at a crash
it calls again and answers twice.
"""

import argparse
import asyncio
import signal
import threading
from collections import deque
from pathlib import Path
from typing import Any, Final

import aiohttp
import httpx
import orjson
import uvloop
from confluent_kafka import Consumer, Message, Producer
from httpx_aiohttp import AiohttpTransport

ROOT: Final = Path(__file__).parents[2]
WORKFLOW: Final = ROOT / "workflows" / "banking_intent"
POLL_S: Final = 0.05
COMMIT_S: Final = 1.0


class Asking:
    """The request, and two ways to send it: through httpx's client, or straight to its transport as Penstock does."""

    def __init__(self, url: str, *, whole_client: bool) -> None:
        self._url = httpx.URL(f"{url}/v1/chat/completions")
        self._transport = AiohttpTransport(client=_session)
        self._client = httpx.AsyncClient(transport=self._transport) if whole_client else None
        system = (WORKFLOW / "prompts" / "small" / "system.md").read_text()
        labels = (WORKFLOW / "prompts" / "shared" / "labels.md").read_text()
        self._system = system.replace('{% include "prompts/shared/labels.md" %}', labels)
        schema = orjson.Fragment((WORKFLOW / "output.schema.json").read_bytes())
        self._format = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}

    async def ask(self, text: str) -> bytes:
        """The response's body."""
        body = orjson.dumps(
            {
                "model": "local-small",
                "messages": [
                    {"role": "system", "content": self._system},
                    {"role": "user", "content": f"<message>\n{text}\n</message>"},
                ],
                "max_tokens": 48,
                "temperature": 0,
                "logprobs": True,
                "response_format": self._format,
            }
        )
        if self._client is not None:
            answer = await self._client.post(self._url, content=body, headers=self._headers)
            return answer.content
        response = await self._transport.handle_async_request(
            httpx.Request("POST", self._url, headers=self._headers, content=body)
        )
        try:
            return await response.aread()
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar())


class Loop:
    """Up to `concurrency` jobs at once; offsets are committed each second once their results are sent."""

    def __init__(self, broker: str, topics: tuple[str, str], asking: Asking, concurrency: int) -> None:
        self._jobs, self._results = topics
        self._asking = asking
        self._free = concurrency
        self._stop = threading.Event()
        self._room = threading.Event()
        self._done: deque[Message] = deque()  # calls of one consumer from two threads wait for each other
        self._loop = asyncio.get_running_loop()
        self._producer = Producer(
            {"bootstrap.servers": broker, "acks": "all", "linger.ms": 0, "compression.type": "lz4"}
        )
        self._consumer = Consumer(
            {
                "bootstrap.servers": broker,
                "group.id": f"bare-{self._jobs}",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": True,
                "auto.commit.interval.ms": int(COMMIT_S * 1000),
                "enable.auto.offset.store": False,
                "fetch.wait.max.ms": 5,
                "fetch.queue.backoff.ms": 5,
            }
        )

    async def run(self) -> None:
        """Until stopped."""
        async with asyncio.TaskGroup() as self._tasks:
            try:
                await asyncio.to_thread(self._consume)
            finally:
                self.stop()
        self._producer.flush(10)
        self._consumer.close()
        await self._asking.aclose()

    def stop(self) -> None:
        """Take nothing more."""
        self._stop.set()
        self._room.set()

    def _consume(self) -> None:
        assigned = threading.Event()
        self._consumer.subscribe([self._jobs], on_assign=lambda *_: assigned.set())
        told = False
        while not self._stop.is_set():
            if assigned.is_set() and not told:
                print("ready", flush=True)
                told = True
            self._producer.poll(0)
            while self._done:
                self._consumer.store_offsets(self._done.popleft())
            free = self._free
            if free <= 0:
                self._room.clear()
                self._room.wait(POLL_S)
                continue
            first = self._consumer.poll(POLL_S)
            if first is None:
                continue
            rest = self._consumer.consume(free - 1, 0) if free > 1 else []
            messages = [message for message in (first, *rest) if message.error() is None]
            self._free -= len(messages)
            self._loop.call_soon_threadsafe(self._start, messages)

    def _start(self, messages: list[Message]) -> None:
        for message in messages:
            self._tasks.create_task(self._work(message))

    async def _work(self, message: Message) -> None:
        job: dict[str, Any] = orjson.loads(message.value() or b"")
        answer = orjson.loads(await self._asking.ask(job["input"]["text"]))
        output = orjson.loads(answer["choices"][0]["message"]["content"])
        result = {"job_id": job["job_id"], "status": "accepted", "output": output, "attempts": 1}
        self._producer.produce(self._results, orjson.dumps(result), message.key())
        self._done.append(message)
        self._free += 1
        self._room.set()


async def _run(told: argparse.Namespace) -> None:
    asking = Asking(told.upstream, whole_client=told.whole_client)
    loop = Loop(told.broker, (told.jobs, told.results), asking, told.concurrency)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, loop.stop)
    await loop.run()


def main() -> None:
    """The child process."""
    parser = argparse.ArgumentParser(description="Consume, call, produce.")
    parser.add_argument("--broker", required=True)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--jobs", required=True)
    parser.add_argument("--results", required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--whole-client", action="store_true")
    uvloop.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()

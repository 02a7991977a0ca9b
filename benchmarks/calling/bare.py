"""The bare loop: httpx.AsyncClient on the same transport, the request as JSON, the response read as JSON."""

import httpx
import orjson
import uvloop
from httpx_aiohttp import AiohttpTransport

from calling.contestant import Told, report, told


async def main(given: Told) -> None:
    """Call."""
    body = orjson.loads(given.body.read_bytes())
    async with httpx.AsyncClient(transport=AiohttpTransport(), timeout=60) as client:

        async def one(number: int) -> None:
            headers = {"Content-Type": "application/json", "X-Attempt": str(number)}
            response = await client.post(f"{given.url}/chat/completions", content=orjson.dumps(body), headers=headers)
            assert orjson.loads(response.content)["choices"][0]["message"]["content"]

        await report(given, one)


if __name__ == "__main__":
    uvloop.run(main(told()))

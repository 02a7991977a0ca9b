"""Tools over HTTP. Nothing is followed, and what a tool says beyond its limit is not read.

What goes wrong is told by its kind alone: an exception's text may hold the address, and the address a secret.
"""

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Final

import httpx
import orjson

from processors.providers.errors import Break, retry_after_s
from processors.providers.transport import EXPECTED, BeforeCall, Body, Transport, what_broke
from processors.tools.definitions import Tool
from processors.tools.port import ToolAnswer

_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_NOT_SENT: Final = frozenset({Break.NOT_CONNECTED, Break.CONNECT_TIMEOUT, Break.TLS, Break.BAD_URL})


class HttpTools:
    """Calls tools. Use it within one event loop, and close it.

    `before_call` is awaited at the last moment before each call; it may raise to prevent it.
    """

    def __init__(self, before_call: BeforeCall | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self._before_call = before_call
        self._environ = environ
        self._transports: dict[bool, Transport] = {}

    def _transport(self, url: httpx.URL) -> Transport:
        """Made with the first call: most workflows have no tools."""
        secure = url.scheme == "https"
        if secure not in self._transports:
            self._transports[secure] = Transport(secure=secure)
        return self._transports[secure]

    async def call(self, tool: Tool, arguments: dict[str, Any], key: str, timeout_s: float) -> ToolAnswer:
        """Call a tool once."""
        written = False

        def goes_out() -> None:
            nonlocal written
            written = True

        content = b"" if tool.settings.method == "GET" else orjson.dumps(arguments)
        body = Body(content, self._before_call, goes_out)
        try:
            request = self._request(tool, arguments, key, body, len(content))
            if isinstance(request, ToolAnswer):
                return request
            async with asyncio.timeout(timeout_s):
                return await self._answered(tool, request)
        except TimeoutError:
            return ToolAnswer(error=f"no answer within {timeout_s:.3g} s", arrived=written, again=True)
        except EXPECTED as error:
            if body.prevented is not None:
                raise body.prevented from None
            kind = what_broke(error)
            said = f"{kind.replace('_', ' ')} ({type(error.__cause__ or error).__name__})"
            return ToolAnswer(error=said, arrived=written and kind not in _NOT_SENT, again=kind is not Break.BAD_URL)

    async def _answered(self, tool: Tool, request: httpx.Request) -> ToolAnswer:
        response = await self._transport(request.url).handle_async_request(request)
        try:
            return await _read(tool, response)
        finally:
            await response.aclose()

    def _request(
        self, tool: Tool, arguments: dict[str, Any], key: str, body: Body, size: int
    ) -> httpx.Request | ToolAnswer:
        """The request, or why there can be none."""
        settings = tool.settings
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Length": str(size),
            "Idempotency-Key": key,
            "User-Agent": "penstock",
        }
        if settings.key_env is not None:
            secret = self._environ.get(settings.key_env, "").strip()
            if not secret:
                return ToolAnswer(error=f"{settings.key_env} is not in the environment", arrived=False)
            headers["Authorization"] = f"Bearer {secret}"
        url = httpx.URL(tool.url(self._environ))
        if url.userinfo:
            return ToolAnswer(error="its address holds a user or a password: use key_env", arrived=False)
        if settings.method == "GET":
            url = url.copy_merge_params({name: _in_query(one) for name, one in arguments.items() if one is not None})
        else:
            headers["Content-Type"] = "application/json"
        return httpx.Request(settings.method, url, headers=headers, stream=body)

    async def aclose(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(transport.aclose() for transport in self._transports.values()))


def _in_query(value: Any) -> str:
    """An argument as it stands in a query: texts as they are, all else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


async def _read(tool: Tool, response: httpx.Response) -> ToolAnswer:
    """The answer, as far as it is one."""
    received = bytearray()
    async for piece in response.aiter_raw():
        received += piece
        if len(received) > tool.settings.max_bytes:
            return ToolAnswer(response.status_code, error=f"its answer exceeds {tool.settings.max_bytes} bytes")
    body = bytes(received)
    if response.is_success:
        return ToolAnswer(response.status_code, body)
    headers = {name.lower(): value for name, value in response.headers.items()}
    return ToolAnswer(
        response.status_code,
        body,
        error=f"HTTP {response.status_code}",
        again=response.status_code in _AGAIN,
        retry_after_s=retry_after_s(response.status_code, headers),
    )

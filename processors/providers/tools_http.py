"""Tools over HTTP. Beside `http`, the only file that imports an HTTP client.

Nothing is followed: a tool that answers with a redirect has not answered. What it says beyond its limit is not read.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from processors.providers.errors import retry_after_s
from processors.tools.definitions import Tool
from processors.tools.port import ToolAnswer

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL)


class HttpTools:
    """Calls tools. Use it within one event loop, and close it.

    `before_call` is awaited at the last moment before each call; it may raise to prevent it.
    """

    def __init__(
        self, before_call: Callable[[], Awaitable[None]] | None = None, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._before_call = before_call
        self._environ = environ
        self._client: httpx.AsyncClient | None = None

    def _opened(self) -> httpx.AsyncClient:
        """The client, made with the first call: most workflows have no tools."""
        if self._client is None:
            session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
            self._client = httpx.AsyncClient(transport=AiohttpTransport(client=session), follow_redirects=False)
        return self._client

    async def call(self, tool: Tool, arguments: dict[str, Any], key: str, timeout_s: float) -> ToolAnswer:
        """Call a tool once."""
        request = self._request(tool, arguments, key, timeout_s)
        if isinstance(request, ToolAnswer):
            return request
        if self._before_call is not None:
            await self._before_call()
        try:
            async with asyncio.timeout(timeout_s):
                return await self._answered(tool, request)
        except _NOT_SENT as error:
            return ToolAnswer(error=f"it can't be reached: {type(error).__name__}", arrived=False, again=True)
        except (TimeoutError, httpx.TimeoutException):
            return ToolAnswer(error=f"no answer within {timeout_s:.3g} s", again=True)
        except httpx.HTTPError as error:
            return ToolAnswer(error=f"the connection broke: {type(error).__name__}", again=True)

    async def _answered(self, tool: Tool, request: httpx.Request) -> ToolAnswer:
        response = await self._opened().send(request, stream=True)
        try:
            return await _read(tool, response)
        finally:
            await response.aclose()

    def _request(self, tool: Tool, arguments: dict[str, Any], key: str, timeout_s: float) -> httpx.Request | ToolAnswer:
        """The request, or why there can be none."""
        settings = tool.settings
        headers = {"Accept": "application/json", "Idempotency-Key": key, "User-Agent": "penstock"}
        if settings.key_env is not None:
            secret = self._environ.get(settings.key_env)
            if not secret:
                return ToolAnswer(error=f"{settings.key_env} is not in the environment", arrived=False)
            headers["Authorization"] = f"Bearer {secret}"
        url = tool.url(self._environ)
        query = arguments if settings.method == "GET" else None
        body = None if settings.method == "GET" else arguments
        try:
            return self._opened().build_request(
                settings.method, url, params=query, json=body, headers=headers, timeout=timeout_s
            )
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, TypeError, ValueError) as error:
            return ToolAnswer(error=f"its URL can't be called: {error}", arrived=False)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()


async def _read(tool: Tool, response: httpx.Response) -> ToolAnswer:
    """The answer, as far as it is one."""
    received = bytearray()
    async for piece in response.aiter_bytes():
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
        retry_after_s=retry_after_s(response.status_code, headers, None, ""),
    )

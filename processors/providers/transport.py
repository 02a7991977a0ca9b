"""What every call over HTTP shares: sessions without memory, the last moment before the wire, what a break means."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from processors.providers.errors import Break

BeforeCall = Callable[[], Awaitable[None]]

KEEP_ALIVE_S: Final = 15.0
EXPECTED: Final = (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError, ValueError)
"""What a call can fail with that is no bug."""

# What the transport makes of aiohttp's errors is coarse (a disconnect becomes a connect time-out): its cause is asked.
_BREAKS: tuple[tuple[tuple[type[BaseException], ...], Break], ...] = (
    ((aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch), Break.TLS),
    ((aiohttp.InvalidURL, httpx.UnsupportedProtocol, httpx.InvalidURL), Break.BAD_URL),
    ((aiohttp.ConnectionTimeoutError,), Break.CONNECT_TIMEOUT),
    ((aiohttp.ClientConnectorError,), Break.NOT_CONNECTED),
)


class Body(httpx.AsyncByteStream):
    """A request's bytes, given out when they go onto the wire: the last moment at which a call can be prevented.

    Between asking for leave and writing nothing else runs. A process can be frozen anywhere: where a hundred calls are
    begun at once, those that had leave and were not yet written went out when it woke up, for jobs of others by then.
    """

    def __init__(self, content: bytes, before_call: BeforeCall | None, written: Callable[[], None]) -> None:
        self.prevented: Exception | None = None
        self._content = content
        self._before_call = before_call
        self._written = written

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._before_call is not None:
            try:
                await self._before_call()
            except Exception as error:
                self.prevented = error  # what is raised here reaches the caller as a broken connection
                raise
        self._written()
        yield self._content


class Transport(AiohttpTransport):
    """httpx requests straight to aiohttp. No jar: it would carry cookies from one tenant's call to the next."""

    def __init__(self, *, secure: bool) -> None:
        """Without TLS there are no certificates to read: a tenth of a second at every start."""
        super().__init__(verify=secure, client=self._session)

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S, ssl=self.ssl_context)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def what_broke(error: BaseException) -> Break:
    """How a call ended that ended without a response."""
    cause = error.__cause__ or error
    return next((kind for types, kind in _BREAKS if isinstance(cause, types)), Break.CUT)

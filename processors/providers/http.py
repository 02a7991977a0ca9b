"""Providers over HTTP: httpx requests straight to the aiohttp transport. The only file that imports an HTTP client.

`httpx.AsyncClient` is left out on purpose: what its layer adds (cookies, redirects, auth, events) is not wanted here,
and it was a third of the CPU of a call.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import quote

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from processors.models import Models, ProviderSettings
from processors.problems import CredentialError
from processors.providers.asking import ASKING
from processors.providers.calls import Call, Patience
from processors.providers.errors import Break
from processors.providers.exchanges import RawResponse, answered
from processors.providers.port import Answered, CompletionRequest, Failure, Provider

BeforeCall = Callable[[], Awaitable[None]]

ATTEMPT_HEADER = "X-Penstock-Attempt"
_KEEP_ALIVE_S = 15.0
_HEADERS = "latin-1"

# What the transport makes of aiohttp's errors is coarse (a disconnect becomes a connect time-out): its cause is asked.
_BREAKS: tuple[tuple[tuple[type[BaseException], ...], Break], ...] = (
    ((aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch), Break.TLS),
    ((aiohttp.InvalidURL, httpx.UnsupportedProtocol, httpx.InvalidURL), Break.BAD_URL),
    ((aiohttp.ConnectionTimeoutError,), Break.CONNECT_TIMEOUT),
    ((aiohttp.ClientConnectorError,), Break.NOT_CONNECTED),
)
_EXPECTED = (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError, ValueError)


class HttpProvider:
    """One provider over HTTP. Use it within one event loop, and close it."""

    def __init__(
        self,
        settings: ProviderSettings,
        api_key: str | None = None,
        clock: Callable[[], datetime] | None = None,
        before_call: BeforeCall | None = None,
    ) -> None:
        """`before_call` is awaited before each call, when it has its slot; it may raise to prevent it."""
        self._settings = settings
        self._before_call = before_call
        self._clock = clock or (lambda: datetime.now(UTC))
        self._asking = ASKING[settings.dialect]
        self._urls: dict[tuple[str, bool], httpx.URL] = {}
        headers = {
            "Host": httpx.URL(settings.base_url).netloc.decode(),
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            # Answers are short, and an encoding would cost more CPU than it saves on the wire.
            "Accept-Encoding": "identity",
            "User-Agent": "penstock",
        }
        if api_key:
            headers |= self._asking.authorization(api_key)
        # With its encoding given, httpx need not guess it from the bytes of every header of every call.
        self._headers = httpx.Headers(headers, encoding=_HEADERS)
        self._slots = asyncio.Semaphore(settings.max_in_flight)
        self._transport = AiohttpTransport(client=self._session)

    def __repr__(self) -> str:
        return f"HttpProvider({self._settings.base_url!r})"  # the key is in the headers and stays there

    def _session(self) -> aiohttp.ClientSession:
        # The slots bound the connections; a jar would carry cookies from one tenant's call to the next.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S, ssl=self._transport.ssl_context)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    async def complete(self, request: CompletionRequest) -> Answered:
        """One call, once."""
        body = self._asking.encode(request)
        call = Call(request, body.decode(), asyncio.get_running_loop().time)
        left = await self._slot(call)
        if left is None:
            said = f"all {self._settings.max_in_flight} slots of the provider were taken until the job's deadline"
            return call.broken(Break.NO_SLOT, said)
        try:
            if self._before_call is not None:
                await self._before_call()
            return await self._call(call, body, min(request.total_timeout_s, left))
        finally:
            self._slots.release()

    async def _slot(self, call: Call) -> float | None:
        """Take a slot; what is left of the time then, nothing if none became free in time."""
        left_s = call.request.left_s
        if not self._slots.locked():
            await self._slots.acquire()
            return left_s
        try:
            async with asyncio.timeout(left_s):
                await self._slots.acquire()
        except TimeoutError:
            return None
        call.queued()
        return left_s - call.queue_ms / 1000

    async def _call(self, call: Call, body: bytes, limit: float) -> Answered:
        try:
            async with asyncio.timeout(limit):
                raw = await self._exchange(call, body)
        except TimeoutError:
            return call.broken(Break.TOTAL_TIMEOUT, f"no answer within {limit:.3g} s")
        except _EXPECTED as error:
            return call.broken(*_why(error))
        if isinstance(raw, Failure):
            return raw
        return answered(self._settings.dialect, call.asked, raw, stream=call.request.stream, timing=call.timing)

    async def _exchange(self, call: Call, body: bytes) -> RawResponse | Failure:
        """The response, or why there is none."""
        request = call.request
        headers = self._headers.copy()
        headers[ATTEMPT_HEADER] = header_text(request.attempt_id)
        headers["Content-Length"] = str(len(body))
        limits = {"timeout": {"connect": request.connect_timeout_s}}
        # A stream and not `content`, for which httpx would look the headers up and put together what is here already.
        stream = httpx.ByteStream(body)
        sent = httpx.Request("POST", self._url(request), headers=headers, stream=stream, extensions=limits)
        sent.read()
        sent.headers.encoding = _HEADERS  # a request copies its headers without it
        call.sent()
        patience = Patience(request)
        try:
            async with patience:
                response = await self._transport.handle_async_request(sent)
                pieces = response.stream
                assert isinstance(pieces, httpx.AsyncByteStream)
                said = {name.decode(_HEADERS).lower(): value.decode(_HEADERS) for name, value in response.headers.raw}
                call.answers(self._settings.dialect, said)
                try:
                    async for piece in pieces:
                        if not call.takes(piece):
                            return call.too_large()
                        patience.goes_on()
                finally:
                    await pieces.aclose()
        except TimeoutError:
            if patience.over is None:
                raise
            return call.broken(*patience.over)
        return RawResponse(response.status_code, said, call.received)

    def _url(self, request: CompletionRequest) -> httpx.URL:
        """Where the call goes; parsed once for each model."""
        key = request.model.id, request.stream
        if (url := self._urls.get(key)) is None:
            path = self._asking.path(request.model.id, stream=request.stream)
            url = self._urls[key] = httpx.URL(self._settings.base_url + path)
        return url

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


def header_text(attempt_id: str) -> str:
    """The attempt's id as a header can carry it: percent-encoded where it is not ASCII."""
    return attempt_id if attempt_id.isascii() else quote(attempt_id, safe="!#$&'()*+,-./:;=?@[]_~")


def _why(error: BaseException) -> tuple[Break, str]:
    cause = error.__cause__ or error
    kind = next((kind for types, kind in _BREAKS if isinstance(cause, types)), Break.CUT)
    return kind, f"{kind.replace('_', ' ')}: {type(cause).__name__}: {cause}"


def connect(
    models: Models, environ: Mapping[str, str] | None = None, before_call: BeforeCall | None = None
) -> dict[str, Provider]:
    """A provider for each one in models.toml, with its key from the environment. Close them when done.

    Raises:
        CredentialError: a key that models.toml names is not in the environment.
    """
    environ = os.environ if environ is None else environ
    missing = {
        name: settings.api_key_env
        for name, settings in models.providers.items()
        if settings.api_key_env and not environ.get(settings.api_key_env)
    }
    if missing:
        wanted = "; ".join(f"provider {name} wants {variable}" for name, variable in missing.items())
        raise CredentialError(f"{wanted}, and the environment does not have it: set it before starting")
    return {
        name: HttpProvider(
            settings, environ.get(settings.api_key_env) if settings.api_key_env else None, before_call=before_call
        )
        for name, settings in models.providers.items()
    }

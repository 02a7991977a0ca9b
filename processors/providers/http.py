"""Providers over HTTP: httpx requests straight to the aiohttp transport.

`httpx.AsyncClient` is left out on purpose: what its layer adds (cookies, redirects, auth, events) is not wanted here,
and it was a third of the CPU of a call.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from urllib.parse import quote

import httpx

from processors.models import Models, ProviderSettings
from processors.problems import CredentialError
from processors.providers.asking import ASKING
from processors.providers.calls import Call, Patience
from processors.providers.errors import Break, ErrorClass
from processors.providers.exchanges import RawResponse, answered
from processors.providers.guarded import GuardedProvider, transition
from processors.providers.keys import Key, Keys
from processors.providers.port import Answered, CompletionRequest, Exchange, Failure, Provider, Reply
from processors.providers.transport import EXPECTED, BeforeCall, Body, Transport, what_broke
from schemas.stages import Transition

ATTEMPT_HEADER = "X-Penstock-Attempt"
_HEADERS = "latin-1"


class HttpProvider:
    """One provider over HTTP. Use it within one event loop, and close it."""

    def __init__(
        self,
        settings: ProviderSettings,
        api_keys: tuple[str, ...] = (),
        before_call: BeforeCall | None = None,
        name: str = "",
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """`before_call` is awaited at the last moment before each call; it may raise to prevent it."""
        self._name = name
        self._settings = settings
        self._before_call = before_call
        self._timer = timer
        self._news: list[Transition] = []
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
        self._keys = Keys(api_keys)
        # With its encoding given, httpx need not guess it from the bytes of every header of every call.
        self._headers = httpx.Headers(headers, encoding=_HEADERS)
        self._transport = Transport(secure=settings.base_url.startswith("https://"))

    def __repr__(self) -> str:
        return f"HttpProvider({self._settings.base_url!r})"  # the key is in the headers and stays there

    async def complete(self, request: CompletionRequest) -> Answered:
        """One call, once."""
        key = self._keys.pick(self._timer())
        if key is None:
            return self._no_key()
        body = self._asking.encode(request)
        call = Call(request, body.decode(), asyncio.get_running_loop().time)
        if self._before_call is not None:
            await self._before_call()
        found = await self._call(call, body, key, min(request.total_timeout_s, request.left_s))
        self._learn(found, key)
        return found

    def _no_key(self) -> Failure:
        """The failure of a call that no key may be used for: they rest, or all were refused."""
        wait_s = self._keys.wait_s(self._timer())
        dead = self._keys.dead
        why = ErrorClass.CREDENTIAL_DEAD if dead else ErrorClass.WAIT_UNTIL
        said = f"all keys of {self._name} rest for {wait_s:.1f} s: {'they were refused' if dead else 'rate limits'}"
        return Failure(Exchange(""), why, said, wait_s, may_have_run=False, attempted=False)

    def _learn(self, found: Answered, key: Key) -> None:
        """What a call's end says about its key."""
        if isinstance(found, Reply):
            key.answered()
        elif found.error_class is ErrorClass.WAIT_UNTIL:
            rests_s = key.limited(found.retry_after_s, self._timer())
            self._note(key, "resting", f"{found.error}; it rests for {rests_s:g} s")
        elif found.error_class is ErrorClass.CREDENTIAL_DEAD:
            rests_s = key.refused(self._timer())
            self._note(key, "refused", f"{found.error}; it is tried again in {rests_s:g} s")

    def _note(self, key: Key, state: str, why: str) -> None:
        self._news.append(transition(self._name, f"key {key.number}", "used", state, why))

    def may_repeat(self) -> bool:
        """It may: who guards it counts."""
        return True

    def news(self) -> tuple[Transition, ...]:
        """What has changed in its keys since this was asked last."""
        told, self._news = tuple(self._news), []
        return told

    async def _call(self, call: Call, body: bytes, key: Key, limit: float) -> Answered:
        stream = Body(body, self._before_call, call.sent)
        try:
            raw = await self._exchange(call, stream, len(body), key, limit)
        except TimeoutError:  # the transport's own
            return call.gave_up(Break.TOTAL_TIMEOUT, f"no answer within {limit:.3g} s")
        except EXPECTED as error:
            if stream.prevented is not None:
                raise stream.prevented from None
            return call.broken(*_why(error))
        if isinstance(raw, Failure):
            return raw
        return answered(self._settings.dialect, call.asked, raw, stream=call.request.stream, timing=call.timing)

    async def _exchange(self, call: Call, body: Body, size: int, key: Key, limit: float) -> RawResponse | Failure:
        """The response, or why there is none."""
        request = call.request
        headers = self._headers.copy()
        headers[ATTEMPT_HEADER] = header_text(request.attempt_id)
        headers["Content-Length"] = str(size)
        if key.text:
            headers.update(self._asking.authorization(key.text))
        limits = {"timeout": {"connect": request.connect_timeout_s}}
        sent = httpx.Request("POST", self._url(request), headers=headers, stream=body, extensions=limits)
        sent.headers.encoding = _HEADERS  # a request copies its headers without it
        patience = Patience(request, limit)
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
            return call.gave_up(*patience.over)
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
    kind, cause = what_broke(error), error.__cause__ or error
    return kind, f"{kind.replace('_', ' ')}: {type(cause).__name__}: {cause}"


def connect(
    models: Models,
    environ: Mapping[str, str] | None = None,
    before_call: BeforeCall | None = None,
    timer: Callable[[], float] = time.monotonic,
) -> dict[str, Provider]:
    """A provider for each one in models.toml, with its key from the environment. Close them when done.

    `timer` counts the seconds for which what fails is left alone.

    Raises:
        CredentialError: a key that models.toml names is not in the environment.
    """
    environ = os.environ if environ is None else environ
    wanted = {name: settings.key_variables for name, settings in models.providers.items()}
    missing = [(name, one) for name, variables in wanted.items() for one in variables if not environ.get(one)]
    if missing:
        said = "; ".join(f"provider {name} wants {variable}" for name, variable in missing)
        raise CredentialError(f"{said}, and the environment does not have it: set it before starting")
    return {
        name: GuardedProvider(
            name,
            HttpProvider(settings, tuple(environ[one] for one in wanted[name]), before_call=before_call, name=name),
            timer,
            settings.max_in_flight,
            settings.slow_s,
        )
        for name, settings in models.providers.items()
    }

"""The HTTP side: routes, the order of what happens to a call, and the switches for whoever runs it."""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Any

import orjson
import structlog
from aiohttp import web

from penstock.local.model_server.calls import Call, CallLog
from penstock.local.model_server.completions import complete
from penstock.local.model_server.effects import abort, cut, malformed, refuse
from penstock.local.model_server.faults import Fault, FaultError, FaultPlan, parse_all, parse_scenario
from penstock.local.model_server.latency import Latency, LatencyError
from penstock.local.model_server.models import Model
from penstock.local.model_server.settings import Settings
from penstock.local.model_server.speech import SPEECHES, Speech
from penstock.local.model_server.streaming import send_stream
from penstock.local.model_server.wire import ChatRequest, RequestRefusedError, read_json

LARGEST_REQUEST_BYTES = 8 * 2**20
SHARE_AFTER_FIRST_TOKEN = 0.4
"""Of a streamed answer's latency."""

_LOOPBACK = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})

log = structlog.get_logger(__name__)


class ModelServer:
    """Serves the models until its app is cleaned up."""

    def __init__(self, settings: Settings, models: Mapping[str, Model]) -> None:
        self._settings = settings
        self._models = models
        self._started = int(time.time())
        self._random = Random(settings.seed)  # noqa: S311 - sampling, not secrecy
        self._faults = FaultPlan(Random(settings.seed + 1), settings.faults)  # noqa: S311 - as above
        usual = {name: model.recipe.latency_ms for name, model in models.items()}
        self._latency = Latency(
            Random(settings.seed + 2),  # noqa: S311 - as above
            {**usual, **settings.latency_ms},
            settings.constant_latency_ms,
        )
        self._calls = CallLog(settings.data / "calls.jsonl", secrets.token_hex(4))

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=LARGEST_REQUEST_BYTES)
        for path, speech in SPEECHES.items():
            app.router.add_post(path, partial(self.answer, speech))
        app.router.add_get("/v1/models", self.list_models)
        app.router.add_get("/health", self.health)
        app.router.add_get("/admin/calls", self._admin(lambda _: self._calls.summary()))
        app.router.add_get("/admin/faults", self._admin(lambda _: self._shown_faults()))
        app.router.add_post("/admin/faults", self._admin(self._set_faults))
        app.router.add_post("/admin/scenario", self._admin(self._play))
        app.router.add_get("/admin/latency", self._admin(lambda _: self._latency.shown()))
        app.router.add_post("/admin/latency", self._admin(self._set_latency))
        app.on_cleanup.append(self._close)
        return app

    async def answer(self, speech: Speech, request: web.Request) -> web.StreamResponse:
        """Answer one call, and log when it began and how it ended."""
        chat, raw = await _received(speech, request)
        known = chat if isinstance(chat, ChatRequest) else None
        call = self._calls.began(
            request.headers.get("X-Penstock-Attempt"),
            known.model if known else None,
            stream=bool(known and known.stream),
            sha256=hashlib.sha256(raw).hexdigest(),
        )
        try:
            self._admit(request)
            if isinstance(chat, RequestRefusedError):
                return _refused(speech, call, chat)
            return await self._answer(speech, request, chat, call)
        except RequestRefusedError as error:
            return _refused(speech, call, error)
        except ConnectionError:
            return web.Response(status=499)  # nobody is there to read it
        except Exception:
            # To the caller a bug here is what it would be at any provider; to whoever runs the server, this line.
            log.exception("a call failed", call=call.id, model=call.model)
            return _refused(speech, call, RequestRefusedError(500, "The server had an error.", kind="server_error"))
        finally:
            call.client_gone = request.transport is None or request.transport.is_closing()
            self._calls.ended(call)

    async def _answer(self, speech: Speech, request: web.Request, chat: ChatRequest, call: Call) -> web.StreamResponse:
        """1. The model. 2. A fault, if one hits. 3. The answer. 4. Its time. 5. Its bytes, as the fault leaves them."""
        model = self._models.get(chat.model)
        if model is None:
            message = f"The model '{chat.model}' does not exist; there are {', '.join(self._models)}."
            raise RequestRefusedError(404, message, code="model_not_found", param="model")
        fault = self._draw_fault(request, model.name)
        call.fault = fault.kind if fault else None
        refuse(fault)
        began = time.monotonic()
        completion = complete(model, chat, call_id=call.id, now=time.time(), random=self._random)
        if call.fault == "truncated":
            completion = cut(completion)
        call.note(completion)
        latency = self._latency.draw_s(model.name)
        after_first = latency * SHARE_AFTER_FIRST_TOKEN if chat.stream else 0.0
        wait = latency - after_first + (fault.delay_s if fault else 0.0) - (time.monotonic() - began)
        await asyncio.sleep(max(0.0, wait))
        call.status = 0 if call.fault == "disconnect" else 200
        if chat.stream:
            usage = bool(chat.stream_options and chat.stream_options.include_usage)
            chunks = list(speech.chunks(completion, include_usage=usage))
            return await send_stream(request, chunks, fault=fault, spread_s=after_first, headers=_headers(call))
        return _whole(request, speech.whole(completion), call)

    def _admit(self, request: web.Request) -> None:
        expected = self._settings.api_key
        given = request.headers.get("Authorization", "").removeprefix("Bearer ") or request.headers.get("x-api-key", "")
        if expected is not None and not hmac.compare_digest(given.encode(), expected.encode()):
            message = "Incorrect API key provided." if given else "You didn't provide an API key."
            raise RequestRefusedError(401, message, code="invalid_api_key")

    def _draw_fault(self, request: web.Request, model: str) -> Fault | None:
        try:
            return self._faults.draw(model, request.headers.get("X-Penstock-Fault"))
        except FaultError as error:
            raise RequestRefusedError(
                400, f"The header X-Penstock-Fault: {error}.", param="X-Penstock-Fault"
            ) from error

    async def list_models(self, _request: web.Request) -> web.Response:
        """`GET /v1/models`."""
        models = [
            {"id": name, "object": "model", "created": self._started, "owned_by": "penstock-local"}
            for name in self._models
        ]
        return _json({"object": "list", "data": models})

    async def health(self, _request: web.Request) -> web.Response:
        """`GET /health`: the server listens only once its models are trained, so an answer means ready."""
        return _json({"status": "ok", "models": list(self._models)})

    def _admin(self, act: Callable[[Any], Any]) -> Callable[[web.Request], Any]:
        """A switch: for this machine only, not for web pages (whose requests can't be JSON without asking first)."""

        async def handle(request: web.Request) -> web.Response:
            if request.remote not in _LOOPBACK:
                return _json({"error": {"message": "/admin answers to this machine only."}}, status=403)
            if request.method == "POST" and request.content_type != "application/json":
                return _json({"error": {"message": "Send application/json."}}, status=415)
            try:
                return _json(act(orjson.loads(await request.read()) if request.method == "POST" else None))
            except (FaultError, LatencyError, orjson.JSONDecodeError) as error:
                return _json({"error": {"message": str(error)}}, status=400)

        return handle

    def _play(self, wanted: Any) -> Any:
        self._faults.play(parse_scenario(wanted))
        return self._shown_faults()

    def _shown_faults(self) -> dict[str, Any]:
        return {"faults": [fault.model_dump() for fault in self._faults.faults]}

    def _set_faults(self, wanted: Any) -> dict[str, Any]:
        self._faults.set(parse_all(wanted.get("faults") if isinstance(wanted, dict) else wanted))
        return self._shown_faults()

    def _set_latency(self, wanted: Any) -> dict[str, Any]:
        self._latency.set(wanted)
        return self._latency.shown()

    async def _close(self, _app: web.Application) -> None:
        self._calls.close()


async def _received(speech: Speech, request: web.Request) -> tuple[ChatRequest | RequestRefusedError, bytes]:
    """The request, or why it can't be read; and its bytes."""
    raw = b""
    try:
        raw = await request.read()
        return speech.read(read_json(raw)), raw
    except web.HTTPRequestEntityTooLarge:
        return RequestRefusedError(413, f"The request is larger than {LARGEST_REQUEST_BYTES} bytes."), raw
    except RequestRefusedError as error:
        return error, raw


def _whole(request: web.Request, body: bytes, call: Call) -> web.Response:
    if call.fault == "disconnect":
        abort(request)
    elif call.fault == "malformed":
        body = malformed(body)
    return web.Response(body=body, headers=_headers(call))


def _refused(speech: Speech, call: Call, error: RequestRefusedError) -> web.Response:
    call.status = error.status
    return web.Response(status=error.status, body=speech.refusal(error), headers=_headers(call) | error.headers)


def _headers(call: Call) -> dict[str, str]:
    return {"Content-Type": "application/json", "x-request-id": f"req_{call.id}"}


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")

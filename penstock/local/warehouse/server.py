"""The HTTP server: takes requests apart, has them run in threads, and turns what comes of it into answers."""

import asyncio
import base64
import binascii
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from typing import Any, Final, TypeVar

import structlog
from aiohttp import web

from penstock.local.warehouse import compression
from penstock.local.warehouse.engine import Call, Engine, Result
from penstock.local.warehouse.errors import BodyTooLargeError, StatementRefusedError, WarehouseError
from penstock.local.warehouse.protocol import (
    Request,
    answer_headers,
    check_credentials,
    check_origin,
    query_headers,
    read_call,
    wants_blocks,
    wants_compression,
)
from penstock.local.warehouse.settings import Settings

log = structlog.get_logger(__name__)

_T = TypeVar("_T")

_OK: Final = "Ok.\n"
_READING: Final = (b"SELECT", b"WITH", b"EXPLAIN", b"(")
_IDENTITY: Final = frozenset({"", "identity"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WarehouseServer:
    """Answers ClickHouse's HTTP protocol from one engine."""

    def __init__(self, engine: Engine, settings: Settings, threads: Executor) -> None:
        """Build the server.

        Args:
            engine: Runs the statements.
            settings: How the warehouse is set up.
            threads: Where statements run; how many there are is how many statements run at once.
        """
        self._engine = engine
        self._settings = settings
        self._threads = threads
        self._under_way: set[asyncio.Task[Any]] = set()

    def app(self) -> web.Application:
        """The application to serve."""
        app = web.Application(client_max_size=self._settings.max_body, middlewares=[self._errors])
        app.router.add_get("/", self.statement)
        app.router.add_post("/", self.statement)
        app.router.add_get("/ping", self.ping)
        app.router.add_get("/replicas_status", self.ping)
        return app

    async def drain(self, patience_s: float) -> None:
        """Wait until no statement is under way; cancel those that still are after so many seconds."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=patience_s)
        if self._under_way:
            await asyncio.to_thread(self._engine.kill_all)
        if self._under_way:  # they may all have ended while they were being cancelled
            await asyncio.wait(self._under_way, timeout=patience_s)

    async def ping(self, _request: web.Request) -> web.Response:
        """`GET /ping`: answers without a password, and while every thread is busy."""
        return web.Response(text=_OK)

    async def statement(self, received: web.Request) -> web.Response:
        """`GET /` and `POST /`: run a statement. A GET may not change anything."""
        address = dict(received.query)
        request = Request(received.method, address, received.headers)
        check_origin(request, self._settings.host)
        check_credentials(request, self._settings, _basic(received))
        if received.content_type == "multipart/form-data":
            body = b""
            address |= await _form(received)
        else:
            body = await received.read()
        if not body and not address.get("query"):
            return web.Response(text=_OK)
        body = await self._in_thread(partial(_decoded, request, body, self._settings.max_body))
        call = read_call(request, body)
        with self._counted():
            result = await self._run(call)
            return await self._answer(call, result, request)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None, "a handler is a task"
        self._under_way.add(task)
        try:
            yield
        finally:
            self._under_way.discard(task)

    async def _run(self, call: Call) -> Result:
        began = time.monotonic()
        try:
            result = await self._in_thread(partial(self._engine.run, call))
        except WarehouseError as error:
            error.query_id = call.query_id
            raise
        except asyncio.CancelledError:
            # The client has gone. What it only wanted to read nobody will read; what it wanted to change is done.
            if call.read_only or call.text[:200].lstrip().upper().startswith(_READING):
                await asyncio.to_thread(self._engine.kill, call.query_id)  # not where statements wait for a thread
            raise
        if self._settings.log_statements:
            milliseconds = round((time.monotonic() - began) * 1000, 1)
            read, written = result.read_rows, result.written_rows
            log.info("statement", query_id=call.query_id, ms=milliseconds, read_rows=read, written_rows=written)
        return result

    async def _answer(self, call: Call, result: Result, request: Request) -> web.Response:
        headers, body = answer_headers(result, call), result.body
        encoding = (
            compression.choose(request.headers.get("Accept-Encoding", "")) if wants_compression(request) else None
        )
        if body and encoding is not None:
            body = await self._in_thread(partial(compression.compress, body, encoding))
            headers["Content-Encoding"] = encoding
        return web.Response(body=body, headers=headers)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    @web.middleware
    async def _errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn every error into an answer as ClickHouse words it."""
        try:
            return await handler(request)
        except WarehouseError as error:
            return self._refusal(error)
        except web.HTTPRequestEntityTooLarge:
            return self._refusal(BodyTooLargeError(self._settings.max_body))
        except web.HTTPException as error:
            text = f"There is no handle {request.method} {request.path}; statements go to /, health is at /ping\n"
            return web.Response(status=error.status, text=text)

    def _refusal(self, error: WarehouseError) -> web.Response:
        text = error.text(self._engine.version)
        log.warning("refused", query_id=error.query_id, code=error.code, status=error.status, error=text[:500].strip())
        headers = {"X-ClickHouse-Exception-Code": str(error.code), **query_headers(error.query_id)}
        if error.status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        return web.Response(status=error.status, text=text, headers=headers)


async def _form(received: web.Request) -> dict[str, str]:
    """The fields of a form, which stand for what else would be in the address."""
    fields = {}
    for name, value in (await received.post()).items():
        if not isinstance(value, str):
            raise StatementRefusedError(
                48, "NOT_IMPLEMENTED", f"The external table {name!r} is not supported; insert it into a table first"
            )
        fields[name] = value
    return fields


def _decoded(request: Request, body: bytes, limit: int) -> bytes:
    """The body as it was before it was compressed for the way."""
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if body and encoding not in _IDENTITY:
        body = compression.decompress(body, encoding, limit=limit)
    return compression.decompress_blocks(body, limit=limit) if body and wants_blocks(request) else body


def _basic(received: web.Request) -> tuple[str, str] | None:
    """User and password of Basic authentication."""
    scheme, _, encoded = received.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user, password

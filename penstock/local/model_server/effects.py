"""What a fault does to a call, once it has been drawn."""

from dataclasses import replace

from aiohttp import web

from penstock.local.model_server.completion import Completion
from penstock.local.model_server.faults import Fault
from penstock.local.model_server.wire import RequestRefusedError


def refuse(fault: Fault | None) -> None:
    """Raises RequestRefusedError for the faults that are refusals; does nothing for the others."""
    if fault is None:
        return
    retry = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
    match fault.kind:
        case "429":
            message = "Rate limit reached for requests (a fault made on purpose)."
            raise RequestRefusedError(429, message, kind="requests", code="rate_limit_exceeded", headers=retry)
        case "500":
            raise RequestRefusedError(500, "The server had an error (a fault made on purpose).", kind="server_error")
        case "503":
            message = "The model is overloaded (a fault made on purpose)."
            raise RequestRefusedError(503, message, kind="server_error", headers=retry)
        case _:
            return


def cut(completion: Completion) -> Completion:
    """The first half of the answer, as if the token limit had been reached."""
    return replace(completion, tokens=completion.tokens[: len(completion.tokens) // 2], finish_reason="length")


def malformed(body: bytes) -> bytes:
    """The first half of a JSON text, which is no JSON."""
    return body[: len(body) // 2]


def abort(request: web.Request) -> None:
    """Cut the connection without another byte."""
    if request.transport is not None:
        request.transport.abort()

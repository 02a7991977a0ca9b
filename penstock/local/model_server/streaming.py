"""An answer as a stream of server-sent events, whole or broken off by a fault."""

import asyncio
from collections.abc import Sequence

from aiohttp import web

from penstock.local.model_server.effects import abort, malformed
from penstock.local.model_server.faults import Fault

_BREAKS_AFTER = 2
"""Chunks (the role and the first token) that still arrive whole before a fault breaks the stream."""


async def send_stream(
    request: web.Request,
    chunks: Sequence[bytes],
    *,
    fault: Fault | None,
    spread_s: float,
    headers: dict[str, str],
) -> web.StreamResponse:
    """Send the chunks, spread over `spread_s` seconds. Raises ConnectionError if the caller has gone."""
    response = web.StreamResponse(headers=headers | {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    breaks = fault is not None and fault.kind in {"disconnect", "malformed"}
    for place, chunk in enumerate(chunks):
        if breaks and place == _BREAKS_AFTER:
            if fault is not None and fault.kind == "malformed":
                await response.write(malformed(chunk) + b"\n\n")
                break
            abort(request)
            return response
        await response.write(chunk)
        if spread_s and place < len(chunks) - 1:
            await asyncio.sleep(spread_s / len(chunks))
    await response.write_eof()
    return response

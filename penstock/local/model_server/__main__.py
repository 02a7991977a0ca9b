"""Run the model server: `python -m penstock.local.model_server --data DIR [--port N]`.

Trains the models if their files are missing (seconds, once), then listens and prints one JSON line with its address.
Stops on SIGINT or SIGTERM.
"""

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

import orjson
import structlog
import uvloop
from aiohttp import web

from penstock.local.model_server.models import Model
from penstock.local.model_server.recipes import RECIPES
from penstock.local.model_server.server import ModelServer
from penstock.local.model_server.settings import Settings, read_settings
from penstock.local.model_server.training import cache_key, trained

SHUTDOWN_S = 2.0
"""How long calls under way may still take once the server is told to stop."""


def load_models(folder: Path) -> dict[str, Model]:
    """The three models, trained now if `folder` does not hold them."""
    return {
        recipe.name: Model(recipe, trained(recipe, folder), fingerprint=f"fp_{cache_key(recipe)[:10]}")
        for recipe in RECIPES
    }


async def serve(settings: Settings) -> None:
    """Listen until told to stop. Raises OSError if the address is taken."""
    server = ModelServer(settings, load_models(settings.data / "models"))
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
        host, port = runner.addresses[0][:2]
        line = {"event": "listening", "url": f"http://{host}:{port}", "models": [recipe.name for recipe in RECIPES]}
        sys.stdout.write(orjson.dumps(line).decode() + "\n")
        sys.stdout.flush()
        await _told_to_stop()
    finally:
        await runner.cleanup()


async def _told_to_stop() -> None:
    stop = asyncio.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, stop.set)
    await stop.wait()


def main() -> None:
    """Read the command line and serve."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    settings = read_settings(sys.argv[1:])
    try:
        with contextlib.suppress(KeyboardInterrupt):
            uvloop.run(serve(settings))
    except OSError as error:
        sys.exit(f"model server: can't listen on {settings.host}:{settings.port} or write to {settings.data}: {error}")


if __name__ == "__main__":
    main()

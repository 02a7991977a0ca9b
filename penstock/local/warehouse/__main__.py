"""Run the warehouse: `python -m penstock.local.warehouse --data DIR [--port N]`.

Owns the directory, starts the engine, listens, and prints one JSON line with its address. On SIGINT or SIGTERM it takes
no more statements, gives those under way a few seconds, cancels the rest, and closes the engine. Inserts that were
acknowledged survive a SIGKILL too (not a loss of power: the engine does not wait for the disk).
"""

import asyncio
import faulthandler
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import orjson
import structlog
import uvloop
from aiohttp import web

from penstock.local.errors import StackError
from penstock.local.warehouse.directory import OwnedDirectory
from penstock.local.warehouse.engine import Engine, open_engine
from penstock.local.warehouse.server import WarehouseServer
from penstock.local.warehouse.settings import Settings, read_settings

_PATIENCE_S = 4.0
"""How long statements under way may still take once the warehouse is told to stop, and again when cancelled."""
_LAST_WORDS_S = 1.0
_LONGEST_ADDRESS = 1 << 20

log = structlog.get_logger(__name__)


async def serve(settings: Settings, directory: OwnedDirectory, engine: Engine) -> None:
    """Listen until told to stop. Raises OSError if the address is taken."""
    with ThreadPoolExecutor(settings.threads, thread_name_prefix="statement") as threads:
        server = WarehouseServer(engine, settings, threads)
        runner = web.AppRunner(
            server.app(),
            access_log=None,
            shutdown_timeout=_LAST_WORDS_S,
            handler_cancellation=True,
            auto_decompress=False,  # done in a thread, with the limit
            max_line_size=_LONGEST_ADDRESS,
            max_field_size=_LONGEST_ADDRESS,
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, settings.host, settings.port)
            await site.start()
            host, port = runner.addresses[0][:2]
            url = f"http://{host}:{port}"
            directory.say(f"serving {url}")
            line = {"event": "listening", "url": url, "engine": engine.version}
            sys.stdout.write(orjson.dumps(line).decode() + "\n")
            sys.stdout.flush()
            log.info("ready", url=url, data=str(settings.data), engine=engine.version, max_memory=settings.max_memory)
            await _told_to_stop()
            await site.stop()
            await server.drain(_PATIENCE_S)
        finally:
            await runner.cleanup()
    log.info("stopped")


async def _told_to_stop() -> None:
    stop = asyncio.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, stop.set)
    await stop.wait()


def main() -> None:
    """Read the command line and serve. Ends with status 1 and a sentence on standard error if it can't start."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    settings = read_settings(sys.argv[1:])
    try:
        directory, engine = open_engine(settings.data, max_memory=settings.max_memory)
    except StackError as error:
        sys.exit(f"warehouse: {error}")
    faulthandler.enable()  # a crash of the engine leaves at least Python's side of it in the log
    try:
        uvloop.run(serve(settings, directory, engine))
    except OSError as error:
        sys.exit(f"warehouse: can't listen on {settings.host}:{settings.port}: {error}; choose another --port")
    finally:
        engine.close()
        directory.release()


if __name__ == "__main__":
    main()

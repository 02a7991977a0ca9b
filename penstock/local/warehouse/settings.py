"""How a warehouse is set up: from the command line, user and password from the environment. Read once, at start."""

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

USER_VARIABLE: Final = "PENSTOCK_WAREHOUSE_USER"
PASSWORD_VARIABLE: Final = "PENSTOCK_WAREHOUSE_PASSWORD"  # noqa: S105 - the name of the variable

_MIB: Final = 1 << 20
_UNITS: Final[Mapping[str, int]] = {"": 1, "k": 1 << 10, "m": _MIB, "g": 1 << 30}
_SIZE: Final = re.compile(r"(\d+)\s*([kmg]?)(?:i?b)?", re.IGNORECASE)
_LEAST_MEMORY: Final = 256 * _MIB
_UNFIT_FOR_ENGINE: Final = frozenset("?&%#\n")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a warehouse is told. All sizes are bytes."""

    data: Path
    """The directory to own."""
    host: str = "127.0.0.1"
    port: int = 0
    """0: any free one; the line printed at start names it."""
    max_memory: int = 2048 * _MIB
    """What the engine may allocate for everything at once; one statement may have three quarters of it."""
    max_body: int = 256 * _MIB
    """The longest request body, before and after decompression."""
    threads: int = 16
    """Statements that run at the same time; more wait."""
    log_statements: bool = False
    user: str = "default"
    password: str | None = field(default=None, repr=False)
    """What callers must send; None: they need none."""


def read_settings(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the command line. Exits with status 2 and an explanation for one that can't be understood."""
    told = _parser().parse_args(arguments)
    return Settings(
        data=told.data,
        host=told.host,
        port=told.port,
        max_memory=told.max_memory,
        max_body=told.max_body,
        threads=told.threads,
        log_statements=told.log_statements,
        user=environment.get(USER_VARIABLE) or "default",
        password=environment.get(PASSWORD_VARIABLE) or None,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m penstock.local.warehouse",
        description="A ClickHouse engine behind ClickHouse's HTTP protocol, for development, tests and small set-ups.",
        epilog=f"If {PASSWORD_VARIABLE} is set in the environment, callers must send it (user: {USER_VARIABLE}, or "
        "'default').",
    )
    say = parser.add_argument
    say("--data", type=_directory, required=True, metavar="DIR", help="directory to own; made if it is missing")
    say("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    say("--port", type=_port, default=0, help="port to listen on (default: any free one)")
    say("--max-memory", type=_memory, default="2GiB", metavar="SIZE", help="for the engine (default: %(default)s)")
    say("--max-body", type=_size, default="256MiB", metavar="SIZE", help="longest request (default: %(default)s)")
    say("--threads", type=_threads, default=16, metavar="N", help="statements at the same time (default: %(default)s)")
    say(
        "--log-statements", action="store_true", help="log every statement's kind, duration and rows, not only failures"
    )
    return parser


def _size(words: str) -> int:
    found = _SIZE.fullmatch(words.strip())
    if found is None or not int(found[1]):
        raise argparse.ArgumentTypeError(f"{words!r} is not a size; expected bytes, or a number with KiB, MiB or GiB")
    return int(found[1]) * _UNITS[found[2].lower()]


def _memory(words: str) -> int:
    size = _size(words)
    if size < _LEAST_MEMORY:
        raise argparse.ArgumentTypeError(f"{words!r} is too little for the engine; expected at least 256MiB")
    return size


def _port(words: str) -> int:
    if not words.isdecimal() or int(words) > 65535:
        raise argparse.ArgumentTypeError(f"{words!r} is not a port; expected 0 to 65535")
    return int(words)


def _threads(words: str) -> int:
    if not words.isdecimal() or not 1 <= int(words) <= 256:
        raise argparse.ArgumentTypeError(f"{words!r} is not a number of threads; expected 1 to 256")
    return int(words)


def _directory(words: str) -> Path:
    path = Path(words).resolve()
    if unfit := _UNFIT_FOR_ENGINE & set(str(path)):
        raise argparse.ArgumentTypeError(
            f"{str(path)!r} has {', '.join(map(repr, sorted(unfit)))} in it, which the engine can't have in a path"
        )
    return path

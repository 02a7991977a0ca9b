"""How a model server is set up: from the command line, and the API key from the environment. Read once, at start."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from penstock.local.model_server.faults import KINDS, Fault, FaultError, parse
from penstock.local.model_server.recipes import RECIPES

API_KEY_VARIABLE = "PENSTOCK_MODEL_SERVER_API_KEY"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a model server is told."""

    data: Path
    """Folder for the trained models and the log of calls."""
    host: str = "127.0.0.1"
    port: int = 0
    """0: any free one; the line printed at start names it."""
    faults: tuple[Fault, ...] = ()
    seed: int = 0
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    constant_latency_ms: float | None = None
    api_key: str | None = field(default=None, repr=False)
    """What callers must send as a bearer credential; None: they need none."""


def read_settings(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the command line. Exits with status 2 and an explanation for one that can't be understood."""
    told = _parser().parse_args(arguments)
    return Settings(
        data=told.data,
        host=told.host,
        port=told.port,
        faults=tuple(told.fault),
        seed=told.seed,
        latency_ms=dict(told.latency_ms),
        constant_latency_ms=told.constant_latency_ms,
        api_key=environment.get(API_KEY_VARIABLE) or None,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m penstock.local.model_server",
        description="An OpenAI-compatible server with three small local models, for development, tests and demos.",
        epilog=f"If {API_KEY_VARIABLE} is set in the environment, callers must send it as their API key.",
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder for trained models and calls.jsonl"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: any free one)")
    parser.add_argument(
        "--fault",
        type=_fault,
        action="append",
        default=[],
        metavar="KIND[:RATE[:VALUE]][@MODEL]",
        help=f"make a share of the calls fail, for example 429:0.05:2 or slow:0.01:10; kinds: {', '.join(KINDS)}",
    )
    parser.add_argument("--seed", type=int, default=0, help="of faults, jitter and sampling (default: %(default)s)")
    parser.add_argument(
        "--latency-ms",
        type=_latency,
        action="append",
        default=[],
        metavar="MODEL=MS",
        help="how long a model takes to answer",
    )
    parser.add_argument(
        "--constant-latency-ms", type=_milliseconds, metavar="MS", help="one latency for all models, without jitter"
    )
    return parser


def _fault(words: str) -> Fault:
    try:
        return parse(words)
    except FaultError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _latency(words: str) -> tuple[str, float]:
    model, _, amount = words.partition("=")
    names = [recipe.name for recipe in RECIPES]
    if model not in names:
        raise argparse.ArgumentTypeError(f"no model {model!r}; expected MODEL=MS with one of {', '.join(names)}")
    return model, _milliseconds(amount)


def _milliseconds(words: str) -> float:
    try:
        amount = float(words)
    except ValueError:
        amount = -1.0
    if not 0 <= amount <= 3_600_000:
        raise argparse.ArgumentTypeError(f"{words!r} is not a number of milliseconds between 0 and 3600000")
    return amount

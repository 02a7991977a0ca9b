"""What all contestants share: what they are told, how they call many at once, what they print."""

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TEXT: Final = "Where is my new card? I ordered it ten days ago."


@dataclass(frozen=True)
class Told:
    """Where to call, how often, how many at once, with what body; before that, calls to warm up."""

    url: str
    calls: int
    at_once: int
    warm_up: int
    body: Path


def told() -> Told:
    """From the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--warm-up", type=int, default=200)
    parser.add_argument("--body", type=Path, required=True, help="file with the request as JSON")
    return Told(**vars(parser.parse_args()))


async def report(given: Told, call: Callable[[int], Awaitable[None]]) -> None:
    """Call as often as told, and print calls, CPU seconds of this process and seconds."""
    await _many(given.warm_up, given.at_once, call)
    cpu, began = time.process_time(), time.perf_counter()
    await _many(given.calls, given.at_once, call)
    took = {"cpu_s": time.process_time() - cpu, "seconds": time.perf_counter() - began}
    print(json.dumps({"calls": given.calls, **took}))


async def _many(calls: int, at_once: int, call: Callable[[int], Awaitable[None]]) -> None:
    numbers = iter(range(calls))

    async def worker() -> None:
        for number in numbers:
            await call(number)

    await asyncio.gather(*(worker() for _ in range(at_once)))

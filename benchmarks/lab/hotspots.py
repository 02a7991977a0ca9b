"""Samples of a profile as tables: where the CPU of a job goes, by thread, room and function."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from lab.sampling import NATIVE

ROOMS: Final = ("penstock", "streams", "processors", "sinks", "schemas")
TOP: Final = 25
MICRO: Final = 1e6

Seconds = Mapping[str, float]

WORK: Final = (
    ("trace rows: Avro", ("schemas/avro.py:encode_rows",)),
    ("between stages: write Avro", ("schemas/avro.py:Codec.encode",)),
    ("between stages: read Avro, validate", ("schemas/avro.py:Codec.decode",)),
    ("trace rows: make, hash texts", ("streams/trace_rows.py", "streams/batch.py:trace_records")),
    ("dispatch: outcome to records", ("streams/dispatch.py", "streams/ends.py")),
    ("call: HTTP client", ("processors/providers/",)),
    ("processors: intake", ("processors/intake.py", "schemas/submission.py")),
    ("processors: routing", ("processors/routing.py",)),
    ("processors: inference but for the call", ("processors/inference.py",)),
    ("processors: validation", ("processors/validation.py",)),
    ("processors: grading", ("processors/grading.py",)),
    ("runner: take, start, time", ("streams/work.py", "streams/runner.py")),
    (
        "Kafka: produce and commit",
        ("streams/kafka/publisher.py", "streams/transactions.py", "streams/kafka/patience.py"),
    ),
    ("Kafka: take", ("streams/kafka/source.py",)),
    ("Kafka: librdkafka's threads", (NATIVE,)),
    ("event loop and sockets", ("aiohttp/", "asyncio/", "uvloop/")),
)
"""What a stack is at work on: the first of these that one of its functions begins with."""


@dataclass(frozen=True)
class Hotspots:
    """CPU seconds by thread, by work, by room, and by function of ours with what the libraries took that it called."""

    jobs: int
    total_s: float
    by_thread: Seconds
    by_work: Seconds
    by_room: Seconds
    by_function: Seconds
    by_library: Seconds

    def as_json(self) -> dict[str, object]:
        """Microseconds per job, heaviest first."""

        def per_job(seconds: Seconds) -> dict[str, float]:
            return {name: round(spent / self.jobs * MICRO, 1) for name, spent in heaviest(seconds)}

        return {
            "jobs": self.jobs,
            "total_us": round(self.total_s / self.jobs * MICRO, 1),
            "by_thread_us": per_job(self.by_thread),
            "by_work_us": per_job(self.by_work),
            "by_room_us": per_job(self.by_room),
            "by_function_us": per_job(self.by_function),
            "by_library_us": per_job(self.by_library),
        }


def read(path: Path, jobs: int) -> Hotspots:
    """The samples that a `Sampler` saved, taken while so many jobs were done."""
    threads: dict[str, float] = defaultdict(float)
    work: dict[str, float] = defaultdict(float)
    rooms: dict[str, float] = defaultdict(float)
    functions: dict[str, float] = defaultdict(float)
    libraries: dict[str, float] = defaultdict(float)
    total = 0.0
    for thread, seconds, stack in json.loads(path.read_text()):
        total += seconds
        threads[thread] += seconds
        work[_work(stack)] += seconds
        ours = next((function for function in stack if _room(function) in ROOMS), None)
        functions[ours or "(no function of ours)"] += seconds
        rooms[_room(ours) if ours else "(libraries alone)"] += seconds
        libraries[_library(stack)] += seconds
    return Hotspots(jobs, total, threads, work, rooms, functions, libraries)


def show(found: Hotspots, console: Console) -> None:
    """Print the tables."""
    console.print(f"{found.total_s / found.jobs * MICRO:,.0f} µs of CPU per job, over {found.jobs:,} jobs")
    for title, seconds in (
        ("by thread", found.by_thread),
        ("by work", found.by_work),
        ("by room (innermost function of ours)", found.by_room),
        ("by innermost code", found.by_library),
        (f"by function of ours, with the libraries it calls (top {TOP})", found.by_function),
    ):
        table = Table("µs per job", "share", title, title_justify="left")
        for name, spent in heaviest(seconds):
            table.add_row(f"{spent / found.jobs * MICRO:,.0f}", f"{spent / found.total_s:.1%}", name)
        console.print(table)


def heaviest(seconds: Seconds) -> list[tuple[str, float]]:
    """The first of them by weight."""
    return sorted(seconds.items(), key=lambda item: -item[1])[:TOP]


def _work(stack: Sequence[str]) -> str:
    for name, beginnings in WORK:
        if any(function.startswith(beginnings) for function in stack):
            return name
    return "(other)"


def _room(function: str) -> str:
    return function.partition("/")[0]


def _library(stack: Sequence[str]) -> str:
    """The package of the innermost frame; generated code (`<string>`) counts to whoever runs it."""
    return next((_room(function) for function in stack if not function.startswith("<")), "(unknown)")

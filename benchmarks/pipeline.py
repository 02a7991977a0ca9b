"""What a job costs: all five stages beside the bare loop that a user would write instead. `make bench`.

Prints jobs per CPU-second of the process (broker and provider are not counted), median of several runs in turn, and the
latency that each adds to the provider's own, one job at a time. `--profile` shows where the worker's CPU goes.
"""

import argparse
import contextlib
import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil
from lab import hotspots
from lab.children import LabError, module, running, wait_for
from lab.contest import Contestant, Figures, alternate, alternate_latency
from lab.site import ROOT, Site
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from penstock.local.stack import EmbeddedStack, embedded
from penstock.local.stack.plan import Name
from streams.kafka.admin import ensure_topics
from streams.kafka.connection import Connection
from streams.pipeline import STAGES
from streams.topics import Topic

PROVIDER_MS: Final = 50.0
CONCURRENCY: Final = 256
WARM_UP_JOBS: Final = 300
PROFILED_RUNS: Final = 2
PREFIX: Final = "bench"


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    jobs: int
    runs: int
    latency_jobs: int
    sink: bool


class Bench:
    """Everything that a measurement needs, running."""

    def __init__(self, stack: EmbeddedStack, upstream: str, folder: Path, life: ExitStack) -> None:
        self.stack = stack
        self.folder = folder
        self._upstream = upstream
        self._life = life
        self.site = Site(stack, PREFIX, model_server_url=upstream)
        life.callback(self.site.close)

    def worker(self, profile: Path | None = None) -> Contestant:
        """All stages in one process."""
        more = ("--profile", str(profile)) if profile else ()
        command = module("lab.worker", "--project", str(ROOT), "--parts", ",".join(STAGES), *more)
        return self._contestant("penstock", command, f"{PREFIX}.jobs", f"{PREFIX}.results", self.site.environment())

    def bare(self, *, whole_client: bool) -> Contestant:
        """The bare loop, with or without httpx's client above the transport."""
        name = "loop-client" if whole_client else "loop"
        topics = Topic(f"{name}-jobs"), Topic(f"{name}-results")
        ensure_topics(Connection(self.stack.broker), topics)
        options = {"broker": self.stack.broker, "upstream": self._upstream, "concurrency": str(CONCURRENCY)}
        options |= {"jobs": topics[0].name, "results": topics[1].name}
        arguments = [word for option, value in options.items() for word in (f"--{option}", value)]
        command = module("lab.bare", *arguments, *(["--whole-client"] if whole_client else []))
        return self._contestant(name, command, topics[0].name, topics[1].name, dict(os.environ))

    def _contestant(
        self, name: str, command: tuple[str, ...], jobs: str, results: str, environment: dict[str, str]
    ) -> Contestant:
        path = os.pathsep.join([str(ROOT / "benchmarks"), *filter(None, [environment.get("PYTHONPATH")])])
        child = self._life.enter_context(
            running(command, self.folder / f"{name}.log", environment | {"PYTHONPATH": path})
        )
        child.wait_until_it_says("ready")
        contestant = Contestant(name, child, self.stack.broker, jobs, results)
        self._life.callback(contestant.close)
        contestant.run(WARM_UP_JOBS)
        return contestant


@contextlib.contextmanager
def bench(*, warehouse: bool) -> Iterator[Bench]:
    """A broker, the provider of constant latency and, if wanted, a warehouse, for as long as the block runs."""
    with ExitStack() as life:
        folder = Path(life.enter_context(tempfile.TemporaryDirectory(prefix="penstock-bench-")))
        components: tuple[Name, ...] = ("broker", "warehouse") if warehouse else ("broker",)
        stack = life.enter_context(embedded(folder, components))
        command = (sys.executable, str(ROOT / "benchmarks" / "lab" / "upstream.py"), "--latency-ms", str(PROVIDER_MS))
        upstream = life.enter_context(running(command, folder / "upstream.log"))
        url = upstream.wait_until_it_says("ready").split()[1]
        yield Bench(stack, url, folder, life)


def measure(plan: Plan, progress: Progress) -> tuple[list[Figures], float | None]:
    """The contestants' figures, and the CPU milliseconds per job of a sink that stores all of it afterwards."""
    with bench(warehouse=plan.sink) as on:
        task = progress.add_task("starting", total=plan.runs * 3 + 2 * -(-plan.latency_jobs // 20))
        contestants = [on.worker(), on.bare(whole_client=False), on.bare(whole_client=True)]

        def told(text: str) -> None:
            progress.update(task, advance=1, description=text)

        alternate(contestants, plan.runs, plan.jobs, told)
        alternate_latency(contestants[:2], plan.latency_jobs, told)
        done = WARM_UP_JOBS + plan.runs * plan.jobs + plan.latency_jobs
        sink_ms = _sink_ms(on, done) if plan.sink else None
        return [one.figures(PROVIDER_MS) for one in contestants], sink_ms


def _sink_ms(on: Bench, jobs: int) -> float:
    """CPU milliseconds per job of a sink that stores everything that was traced, from its start to the last row."""
    sink = on.site.start("sink")
    began = sink.cpu_s()
    wait_for(lambda: on.site.rows("v_jobs") >= jobs, f"{jobs} rows in v_jobs", alive=(sink,))
    return (sink.cpu_s() - began) / jobs * 1000


def profile(jobs: int, console: Console) -> hotspots.Hotspots:
    """Where the worker's CPU goes under a backlog."""
    with bench(warehouse=False) as on, console.status("profiling"):
        samples = on.folder / "samples.json"
        worker = on.worker(samples)
        worker.run(jobs)
        worker.child.signal(signal.SIGUSR1)
        for _ in range(PROFILED_RUNS):
            worker.run(jobs)
        worker.child.signal(signal.SIGUSR2)
        worker.child.wait_until_it_says("profiled")
        return hotspots.read(samples, jobs * PROFILED_RUNS)


def show(figures: list[Figures], sink_ms: float | None, plan: Plan, console: Console) -> None:
    """Print the table."""
    ours, loop, client = figures
    table = Table(title=f"{plan.jobs:,} jobs at once, {CONCURRENCY} in flight, provider {PROVIDER_MS:g} ms")
    table.add_column("medians")
    for column in ("five stages", "bare loop on the\ntransport alone", "bare loop with\nhttpx.AsyncClient"):
        table.add_column(column, justify="right")

    def row(name: str, words: str, *values: float | None) -> None:
        table.add_row(name, *("" if value is None else format(value, words) for value in values))

    row("jobs per CPU-second", ",.0f", ours.jobs_per_cpu_s, loop.jobs_per_cpu_s, client.jobs_per_cpu_s)
    table.add_row("  least to most", *(f"{one.spread[0]:,.0f} to {one.spread[1]:,.0f}" for one in figures))
    row("CPU per job, ms", ".2f", ours.cpu_ms_per_job, loop.cpu_ms_per_job, client.cpu_ms_per_job)
    row("jobs per second", ",.0f", ours.jobs_per_s, loop.jobs_per_s, client.jobs_per_s)
    row("added latency p50, ms", ".1f", ours.added_p50_ms, loop.added_p50_ms, None)
    row("added latency p99, ms", ".1f", ours.added_p99_ms, loop.added_p99_ms, None)
    console.print(table)
    plain, whole = (ours.jobs_per_cpu_s / other.jobs_per_cpu_s for other in (loop, client))
    console.print(
        f"Jobs per CPU-second against the loop with httpx on the same transport: {whole:.2f}; against one that leaves "
        f"httpx's client out, as Penstock's provider does: {plain:.2f}."
    )
    if sink_ms is not None:
        console.print(f"The sink, in a process of its own, stores all rows of a job for {sink_ms:.2f} ms of CPU.")


def machine() -> dict[str, object]:
    """What was measured on."""
    load = [round(value, 1) for value in os.getloadavg()]
    return {"cpus": psutil.cpu_count(), "python": platform.python_version(), "system": platform.system(), "load": load}


def main() -> int:
    """Measure and print; 1 if something went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1500, help="jobs in each run (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each contestant (default: %(default)s)")
    parser.add_argument("--latency-jobs", type=int, default=200, help="jobs one at a time (default: %(default)s)")
    parser.add_argument("--no-sink", action="store_true", help="leave out what the sink takes")
    parser.add_argument("--profile", action="store_true", help="show where the worker's CPU goes instead")
    parser.add_argument("--json", action="store_true", help="print JSON on standard output, progress on standard error")
    told = parser.parse_args()
    console = Console(stderr=told.json)
    plan = Plan(told.jobs, told.runs, told.latency_jobs, not told.no_sink)
    before = machine()
    try:
        found = _profiled(told.jobs, console) if told.profile else _measured(plan, console)
    except LabError as error:
        console.print(f"[red]{error}")
        return 1
    if told.json:
        print(json.dumps({"machine": before, **found}, indent=2))
    else:
        console.print(
            f"{before['cpus']} cores, Python {before['python']}, {before['system']}, load before {before['load']}"
        )
    return 0


def _profiled(jobs: int, console: Console) -> dict[str, object]:
    found = profile(jobs, console)
    hotspots.show(found, console)
    return {"profile": found.as_json()}


def _measured(plan: Plan, console: Console) -> dict[str, object]:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        figures, sink_ms = measure(plan, progress)
    show(figures, sink_ms, plan, console)
    return {"contestants": [asdict(one) for one in figures], "sink_cpu_ms_per_job": sink_ms}


if __name__ == "__main__":
    sys.exit(main())

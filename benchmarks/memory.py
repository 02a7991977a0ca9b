"""What a process of `penstock run --stages inference` holds in memory: idle, and with jobs in flight.

The provider answers slowly, so that all jobs are in flight at once; unique set size is read while they are.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final

from lab.children import Child, LabError, module, running, wait_for
from lab.memory import machine, uss_mib
from lab.site import ROOT, WORKFLOW, Site, bare_producer, job
from rich.console import Console
from rich.table import Table

from penstock.local.stack import EmbeddedStack, embedded

GOAL_MIB: Final = 200
SLOW_MS: Final = 45_000
SAMPLES: Final = 10
STEP_S: Final = 0.5
KEPT: Final = ("intake", "routing", "validation", "grading")
"""Other stages run in a process of their own: they bring the jobs."""


@dataclass(frozen=True)
class Figures:
    """Unique memory of the stage's process, MiB."""

    jobs: int
    job_bytes: int
    started_mib: float
    idle_mib: float
    in_flight_mib: float

    @property
    def kib_per_job(self) -> float:
        """What a job in flight adds."""
        return (self.in_flight_mib - self.idle_mib) * 1024 / self.jobs


def project(folder: Path, jobs: int, size: int) -> Path:
    """The project with models that take all jobs at once and wait as long as the provider needs, and longer texts."""
    made = folder / "project"
    shutil.copytree(ROOT / "workflows", made / "workflows")
    shutil.copy(ROOT / "models.toml", made)
    _change(made / "models.toml", "max_in_flight = 64", f"max_in_flight = {jobs}")
    _change(made / "models.toml", "total_timeout_s = 10", "total_timeout_s = 300")
    _change(made / "workflows" / WORKFLOW / "input.schema.json", '"maxLength": 2000', f'"maxLength": {size}')
    return made


def _change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    if old not in text:
        raise LabError(f"{path.name} no longer says {old!r}: change this benchmark with it")
    path.write_text(text.replace(old, new))


def settled(pid: int) -> float:
    """The median of some samples, MiB."""
    found = []
    for _ in range(SAMPLES):
        found.append(uss_mib(pid))
        time.sleep(STEP_S)
    return median(found)


def measure(stack: EmbeddedStack, folder: Path, life: ExitStack, jobs: int, size: int, console: Console) -> Figures:
    """Idle, then in flight; nobody waits for the answers."""
    command = (sys.executable, str(ROOT / "benchmarks" / "lab" / "upstream.py"), "--latency-ms", str(SLOW_MS))
    upstream = life.enter_context(running(command, folder / "upstream.log"))
    url = upstream.wait_until_it_says("ready").split()[1]
    site = Site(stack, "memory", model_server_url=url)
    life.callback(site.close)
    environment = site.environment() | {"PENSTOCK_CONCURRENCY__INFERENCE": str(jobs)}
    run = ("--project", str(project(folder, jobs, size)), "run", "--stages")

    def start(stages: str) -> Child:
        command = module("penstock.cli", *run, stages)
        child = life.enter_context(running(command, folder / f"{stages[:9]}.log", environment))
        child.wait_until_it_says('"ready"')
        return child

    start(",".join(KEPT))
    worker = start("inference")
    started = uss_mib(worker.pid)
    with console.status("idle"):
        idle = settled(worker.pid)
    producer = bare_producer(stack.broker)
    for number in range(jobs):
        told = job(f"memory-{number:05d}", number, input={"text": ("a message of a customer " * 200)[:size]})
        producer.produce(f"{site.settings.prefix}jobs", told)
    producer.flush(30)
    with console.status(f"{jobs} jobs in flight"):
        wait_for(lambda: _open_calls(url) >= jobs, f"{jobs} open calls", 180, (worker,))
        in_flight = settled(worker.pid)
    return Figures(jobs, len(told), started, idle, in_flight)


def _open_calls(url: str) -> int:
    with urllib.request.urlopen(f"{url}/open", timeout=5) as answer:
        return int(answer.read())


def show(figures: Figures, console: Console) -> None:
    """Print the table."""
    table = Table(title=f"{figures.jobs} jobs of {figures.job_bytes:,} bytes")
    table.add_column("unique memory, MiB")
    table.add_column("", justify="right")
    for name in ("started", "idle", "in_flight"):
        table.add_row(name.replace("_", " "), f"{getattr(figures, f'{name}_mib'):,.0f}")
    table.add_row("a job in flight, KiB", f"{figures.kib_per_job:,.1f}")
    console.print(table)
    verdict = "reached" if figures.in_flight_mib <= GOAL_MIB else "missed"
    console.print(f"The goal of at most {GOAL_MIB} MiB is {verdict}.")


def main() -> int:
    """Measure and print; 1 if a run can't go on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=500, help="in flight at once (default: %(default)s)")
    parser.add_argument("--bytes", type=int, default=3_900, help="of each job's text (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON on standard output, the rest on standard error")
    told = parser.parse_args()
    console = Console(stderr=told.json)
    before = machine()
    try:
        with ExitStack() as life:
            folder = Path(life.enter_context(tempfile.TemporaryDirectory(prefix="penstock-memory-")))
            stack = life.enter_context(embedded(folder, ("broker",)))
            figures = measure(stack, folder, life, told.jobs, told.bytes, console)
    except LabError as error:
        console.print(f"[red]{error}")
        return 1
    show(figures, console)
    if told.json:
        print(json.dumps({"machine": before, "goal_mib": GOAL_MIB, **asdict(figures)}, indent=2))
    else:
        console.print(f"{before['cpus']} cores, load before {before['load']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

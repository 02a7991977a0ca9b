"""Minutes without the warehouse under load: what is lost, what memory it takes, how long the sink takes to catch up.

Jobs flow through all stages at a stated rate; the warehouse is ended and comes back after `--minutes`. Every row that
the stages traced must be stored then, and neither the stages' process nor the sink's may have grown meanwhile: the log
is the buffer. Ends with 1 if a row is missing or doubled.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from checker.topics import read_all, waiting
from checker.traces import stored, traced, wrong_rows
from confluent_kafka import KafkaException
from lab.children import Child, LabError, running, wait_for
from lab.memory import Watch, machine
from lab.site import ROOT, Site, bare_producer, job
from rich.console import Console
from rich.table import Table

from penstock.local.stack import EmbeddedStack, embedded
from streams.pipeline import REVIEWS, STAGES

PROVIDER_MS: Final = 50.0
WARM_UP_S: Final = 20.0
CATCH_UP_S: Final = 1_800.0
STEP_S: Final = 0.1


@dataclass(frozen=True)
class Memory:
    """A process's unique memory, MiB: before the outage, at its most, and at the end of the outage and of all."""

    before_mib: float
    highest_mib: float
    end_of_outage_mib: float
    end_mib: float


@dataclass(frozen=True)
class Figures:
    """One outage."""

    minutes: float
    jobs_per_s: float
    jobs: int
    rows: int
    waiting_records: int
    catch_up_s: float
    wrong_rows: list[str]
    memory: dict[str, Memory]


class Flow:
    """Publishes jobs at a steady rate for as long as it is told."""

    def __init__(self, site: Site, rate: float) -> None:
        self._site = site
        self._rate = rate
        self._producer = bare_producer(site.settings.broker)
        self.published = 0

    def run(self, seconds: float, alive: Callable[[], None]) -> None:
        """Publish for so long.

        Raises:
            LabError: a process died, or jobs were not acknowledged.
        """
        began, first = time.monotonic(), self.published
        while (passed := time.monotonic() - began) < seconds:
            alive()
            while self.published - first < passed * self._rate:
                job_id = f"{self._site.name}-{self.published:06d}"
                self._producer.produce(f"{self._site.settings.prefix}jobs", job(job_id, self.published))
                self.published += 1
            self._producer.poll(STEP_S)
        if self._producer.flush(30):
            raise LabError("jobs were not acknowledged")


def outage(stack: EmbeddedStack, site: Site, minutes: float, rate: float, console: Console) -> Figures:
    """Flow, outage, return, account."""
    children = {"stages": site.start(*STAGES, REVIEWS), "sink": site.start("sink")}

    def alive() -> None:
        for child in children.values():
            child.require_alive()

    flow = Flow(site, rate)
    with Watch({name: child.pid for name, child in children.items()}) as watch:
        with console.status("warming up"):
            flow.run(WARM_UP_S, alive)
        stack.stop("warehouse")
        began = time.monotonic()
        with console.status(f"{minutes:g} minutes without the warehouse"):
            flow.run(minutes * 60, alive)
        site.wait_for_ends(flow.published, alive=tuple(children.values()))
        left = waiting(stack.broker, site.settings.prefix).get("sink", 0)
        ended = time.monotonic()
        stack.start("warehouse")
        with console.status("catching up"):
            wait_for(lambda: _rested(stack, site), "all stored", CATCH_UP_S, tuple(children.values()))
        done = time.monotonic()
    rows = traced(read_all(stack.broker, f"{site.settings.prefix}traces"))
    return Figures(
        minutes=minutes,
        jobs_per_s=rate,
        jobs=flow.published,
        rows=sum(found.total() for found in rows.values()),
        waiting_records=left,
        catch_up_s=done - ended,
        wrong_rows=wrong_rows(rows, stored(site.warehouse, rows)),
        memory={name: _memory(watch, name, began, ended) for name in children},
    )


def _rested(stack: EmbeddedStack, site: Site) -> bool:
    try:
        return not waiting(stack.broker, site.settings.prefix)
    except KafkaException:  # a transaction is open
        return False


def _memory(watch: Watch, name: str, began: float, ended: float) -> Memory:
    return Memory(
        before_mib=watch.between(name, began - 5, began),
        highest_mib=watch.highest(name),
        end_of_outage_mib=watch.between(name, ended - 5, ended),
        end_mib=watch.samples[name][-1][1],
    )


def run(minutes: float, rate: float, console: Console) -> Figures:
    """Everything from the stack to the figures."""
    with ExitStack() as life:
        folder = Path(life.enter_context(tempfile.TemporaryDirectory(prefix="penstock-outage-")))
        stack = life.enter_context(embedded(folder, ("broker", "warehouse")))
        command = (sys.executable, str(ROOT / "benchmarks" / "lab" / "upstream.py"), "--latency-ms", str(PROVIDER_MS))
        upstream: Child = life.enter_context(running(command, folder / "upstream.log"))
        url = upstream.wait_until_it_says("ready").split()[1]
        site = Site(stack, "outage", model_server_url=url)
        life.callback(site.close)
        return outage(stack, site, minutes, rate, console)


def show(figures: Figures, console: Console) -> None:
    """Print the tables."""
    table = Table(title=f"{figures.minutes:g} min without the warehouse, {figures.jobs_per_s:g} jobs a second")
    for column in ("MiB", *figures.memory):
        table.add_column(column, justify="right")
    for name in ("before_mib", "highest_mib", "end_of_outage_mib", "end_mib"):
        words = name.removesuffix("_mib").replace("_", " ")
        table.add_row(words, *(f"{getattr(memory, name):,.0f}" for memory in figures.memory.values()))
    console.print(table)
    console.print(
        f"{figures.jobs:,} jobs, {figures.rows:,} rows; {figures.waiting_records:,} records waited; caught up "
        f"{figures.catch_up_s:.1f} s after the warehouse began to start."
    )
    for sentence in figures.wrong_rows:
        console.print(f"[red]{sentence}")
    console.print("No row is lost or doubled." if not figures.wrong_rows else "[red]Rows are wrong.")


def main() -> int:
    """Measure and print; 1 if rows are wrong or a run can't go on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of the outage (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=20.0, help="jobs a second (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON on standard output, the rest on standard error")
    told = parser.parse_args()
    console = Console(stderr=told.json)
    before = machine()
    try:
        figures = run(told.minutes, told.rate, console)
    except LabError as error:
        console.print(f"[red]{error}")
        return 1
    show(figures, console)
    if told.json:
        print(json.dumps({"machine": before, **asdict(figures)}, indent=2))
    else:
        console.print(f"{before['cpus']} cores, load before {before['load']}")
    return 0 if not figures.wrong_rows else 1


if __name__ == "__main__":
    sys.exit(main())

"""What the sink can store: a backlog of trace arrays as stages write them, caught up with by one sink.

Rows stored for each second of the sink's CPU (broker and warehouse are not counted), rows a second, the most memory it
had. The rows are counted in the warehouse afterwards; one that lacks, or was refused, is a failure.
"""

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil
from checker.topics import assign_from_start, consumer, read_all
from checker.warehouse import WarehouseRefused
from lab.backlog import Original, publish
from lab.children import LabError, running, wait_for
from lab.memory import Watch, machine
from lab.site import ROOT, Site
from rich.console import Console
from rich.table import Table

from penstock.local.stack import EmbeddedStack, embedded
from streams.kafka.admin import ensure_topics
from streams.kafka.connection import Connection
from streams.pipeline import REVIEWS, STAGES

NAME: Final = "copy"
PROVIDER_MS: Final = 50.0
GOAL: Final = 500_000
CATCH_UP_S: Final = 1_800.0


@dataclass(frozen=True)
class Figures:
    """One catch-up."""

    jobs: int
    records: int
    rows: int
    mb: float
    rows_per_record: float
    sink_cpu_s: float
    warehouse_cpu_s: float
    seconds: float
    rows_per_cpu_s: float
    rows_per_s: float
    sink_start_mib: float
    sink_highest_mib: float
    missing: dict[str, int]
    """Rows that the warehouse lacks, by table; below zero: has too many of."""
    refused: int
    """Dead letters of the sink."""


def capture(stack: EmbeddedStack, folder: Path, jobs: int) -> Original:
    """The traces of some jobs that real stages did, all published at once."""
    command = (sys.executable, str(ROOT / "benchmarks" / "lab" / "upstream.py"), "--latency-ms", str(PROVIDER_MS))
    with running(command, folder / "upstream.log") as upstream:
        url = upstream.wait_until_it_says("ready").split()[1]
        site = Site(stack, f"{NAME}0000", model_server_url=url)
        try:
            worker = site.start(*STAGES, REVIEWS)
            site.publish(jobs)
            site.wait_for_ends(jobs, alive=(worker,))
            worker.terminate(30)
            return Original.of(NAME, read_all(stack.broker, f"{site.settings.prefix}traces"))
        finally:
            site.close()


def catch_up(stack: EmbeddedStack, site: Site, original: Original, rows: int, console: Console) -> Figures:
    """Write the backlog, start a sink on it, and wait until it has noted the end."""
    copies = max(1, -(-rows // original.rows.total()))
    connection = Connection(stack.broker, prefix=site.settings.prefix)
    ensure_topics(connection)
    topic = connection.topic("traces")
    with console.status("writing the backlog"):
        records = publish(original, copies, stack.broker, topic)
    ends = _ends(stack.broker, topic)
    warehouse = psutil.Process(stack.pid("warehouse"))
    warehouse_s = _cpu_s(warehouse)
    sink = site.start("sink")
    began, began_s = time.perf_counter(), sink.cpu_s()
    with Watch({"sink": sink.pid}) as watch, console.status("catching up"):
        wait_for(lambda: _noted(site) == ends, "everything noted", CATCH_UP_S, (sink,))
    seconds, sink_s = time.perf_counter() - began, sink.cpu_s() - began_s
    stored = copies * original.rows.total()
    return Figures(
        jobs=copies * original.keys["jobs"],
        records=records,
        rows=stored,
        mb=copies * original.size / 1e6,
        rows_per_record=stored / records,
        sink_cpu_s=sink_s,
        warehouse_cpu_s=_cpu_s(warehouse) - warehouse_s,
        seconds=seconds,
        rows_per_cpu_s=stored / sink_s,
        rows_per_s=stored / seconds,
        sink_start_mib=watch.samples["sink"][0][1],
        sink_highest_mib=watch.highest("sink"),
        missing=_missing(site, original.expected(copies)),
        refused=site.rows("dead_letters"),
    )


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _ends(broker: str, topic: str) -> dict[int, int]:
    """The offset after the last record of each partition."""
    reader = consumer(broker)
    try:
        places = assign_from_start(reader, topic)
        return {place.partition: reader.get_watermark_offsets(place, 10)[1] for place in places}
    finally:
        reader.close()


def _noted(site: Site) -> dict[int, int]:
    """How far the sink has come, by partition."""
    try:
        rows = site.warehouse.ask(
            "SELECT partition, argMax(next_offset, written_at) FROM sink_progress GROUP BY partition"
        )
        return {int(partition): int(offset) for partition, offset in rows}
    except WarehouseRefused:  # its tables are not there yet
        return {}


def _missing(site: Site, expected: dict[str, int]) -> dict[str, int]:
    """Rows that the warehouse lacks (or has too many of: below zero), by table."""
    stored = {table: int(site.warehouse.ask(f"SELECT count() FROM {table} FINAL")[0][0]) for table in expected}
    return {table: n - stored[table] for table, n in expected.items() if n != stored[table]}


def run(rows: int, jobs: int, console: Console) -> Figures:
    """Everything from the stack to the figures."""
    with ExitStack() as life:
        folder = Path(life.enter_context(tempfile.TemporaryDirectory(prefix="penstock-sink-")))
        stack = life.enter_context(embedded(folder, ("broker", "warehouse")))
        with console.status(f"{jobs} jobs through real stages"):
            original = capture(stack, folder, jobs)
        site = Site(stack, "backlog")
        life.callback(site.close)
        return catch_up(stack, site, original, rows, console)


def show(figures: Figures, console: Console) -> None:
    """Print the table."""
    table = Table(title=f"{figures.rows:,} rows of {figures.jobs:,} jobs, {figures.mb:,.0f} MB in arrays")
    table.add_column("")
    table.add_column("", justify="right")
    for name, value in (
        ("rows per CPU-second of the sink", f"{figures.rows_per_cpu_s:,.0f}"),
        ("rows per second", f"{figures.rows_per_s:,.0f}"),
        ("seconds to catch up", f"{figures.seconds:,.1f}"),
        ("CPU of the sink, s", f"{figures.sink_cpu_s:,.2f}"),
        ("CPU of the warehouse, s", f"{figures.warehouse_cpu_s:,.2f}"),
        ("rows in a record", f"{figures.rows_per_record:,.1f}"),
        ("memory of the sink's process at its start, MiB", f"{figures.sink_start_mib:,.0f}"),
        ("memory at its highest, MiB", f"{figures.sink_highest_mib:,.0f}"),
        ("dead letters", f"{figures.refused:,}"),
        ("rows that the warehouse lacks", ", ".join(f"{n:,} {table}" for table, n in figures.missing.items()) or "0"),
    ):
        table.add_row(name, value)
    console.print(table)
    verdict = "reached" if figures.rows_per_cpu_s >= GOAL else "missed"
    console.print(f"The goal of {GOAL:,} rows per CPU-second is {verdict}.")


def main() -> int:
    """Measure and print; 1 if rows are missing or something went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of the backlog (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1_500, help="jobs that are really done (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON on standard output, the rest on standard error")
    told = parser.parse_args()
    console = Console(stderr=told.json)
    before = machine()
    try:
        figures = run(told.rows, told.jobs, console)
    except LabError as error:
        console.print(f"[red]{error}")
        return 1
    show(figures, console)
    if told.json:
        print(json.dumps({"machine": before, "goal_rows_per_cpu_s": GOAL, **asdict(figures)}, indent=2))
    else:
        console.print(f"{before['cpus']} cores, load before {before['load']}")
    return 0 if not figures.missing and not figures.refused else 1


if __name__ == "__main__":
    sys.exit(main())

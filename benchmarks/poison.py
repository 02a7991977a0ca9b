"""Records that end the process, and operators who do: the one is found and given up, the others leave no trace.

First one job among many crashes every worker that calls for it; workers are restarted until all jobs have ended. Then a
healthy worker is killed again and again while it works. Prints how often the process died, what was given up, and that
everything else has its result.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from checker.topics import read_all
from lab.children import Child, module, running
from lab.poisoned import WORD
from lab.site import ROOT, WORKFLOW, Site, bare_producer
from rich.console import Console
from rich.table import Table

from penstock.local.stack import EmbeddedStack, embedded
from streams.isolation import ALONE_DEATHS
from streams.kafka.admin import ensure_topics
from streams.kafka.connection import Connection

LIMIT_S: Final = 600.0
SLOWEST_S: Final = 3.0
"""Seconds between two kills at least: longer than any call takes here."""


@dataclass(frozen=True)
class Found:
    """What came of one run."""

    name: str
    jobs: int
    deaths: int
    dead_letters: int
    failed: int
    others_ended_well: int
    seconds: float

    def holds(self, given_up: int) -> bool:
        """Whether exactly so many jobs were given up, and all others have their end."""
        return self.dead_letters == self.failed == given_up and self.others_ended_well == self.jobs - given_up


def poisoned(stack: EmbeddedStack, neighbours: int) -> Found:
    """One job that crashes its process, among healthy ones."""
    site, began = Site(stack, f"poison{neighbours}"), time.monotonic()
    with ExitStack() as life:
        life.callback(site.close)
        ensure_topics(Connection(site.settings.broker, prefix=site.settings.prefix))
        site.publish(neighbours)
        _publish_poison(site)
        deaths, worker = 0, _start(site, life, 0)
        while site.ends.read() < neighbours + 1:
            if worker.exit_code() is not None:
                deaths += 1
                worker = _start(site, life, deaths)
            if time.monotonic() - began > LIMIT_S:
                raise TimeoutError(f"{site.ends.count} of {neighbours + 1} jobs have ended after {deaths} deaths")
            time.sleep(0.2)
        return _found(site, "a poison record", neighbours + 1, deaths, began)


def killed(stack: EmbeddedStack, kills: int, seed: int) -> Found:
    """A healthy worker under load, killed by an operator so many times."""
    site, chance = Site(stack, f"operator{kills}"), random.Random(seed)
    began, jobs = time.monotonic(), kills * 10
    try:
        worker = site.start()
        for kill in range(kills):
            site.publish(10, kill * 10)
            time.sleep(SLOWEST_S + chance.random())
            worker.kill()
            worker = site.start()
        site.wait_for_ends(jobs, LIMIT_S, (worker,))
        return _found(site, "an operator's kills", jobs, kills, began)
    finally:
        site.close()


def _start(site: Site, life: ExitStack, number: int) -> Child:
    command = module("lab.poisoned", "--project", str(ROOT), "run")
    log = site.settings.data_dir / "logs" / f"{site.name}-poisoned-{number}.log"
    environment = site.environment() | {"PYTHONPATH": str(ROOT / "benchmarks")}
    return life.enter_context(running(command, log, environment))


def _publish_poison(site: Site) -> None:
    producer = bare_producer(site.settings.broker)
    value = {"workflow": WORKFLOW, "job_id": f"{site.name}-{WORD}", "input": {"text": WORD}}
    producer.produce(f"{site.settings.prefix}jobs", json.dumps(value).encode())
    producer.flush(30)


def _found(site: Site, name: str, jobs: int, deaths: int, began: float) -> Found:
    failed = sum(statuses == ["failed"] for statuses in site.ends.results.values())
    letters = len(read_all(site.settings.broker, f"{site.settings.prefix}dead-letters"))
    well = len(site.ends.results.keys() | site.ends.escalations.keys()) - failed
    return Found(name, jobs, deaths, letters, failed, well, round(time.monotonic() - began, 1))


def main() -> int:
    """Run both and print what was found; ends with 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--neighbours", type=int, default=500)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    console = Console(stderr=told.json)
    with tempfile.TemporaryDirectory(prefix="penstock-poison-") as folder, embedded(Path(folder)) as stack:
        with console.status("one poison record among healthy ones"):
            poison = poisoned(stack, told.neighbours)
        with console.status("an operator kills a healthy worker"):
            operator = killed(stack, told.kills, told.seed)
    if told.json:
        sys.stdout.write(json.dumps([asdict(poison), asdict(operator)]) + "\n")
    else:
        console.print(_table((poison, operator)))
    return 0 if poison.holds(1) and operator.holds(0) and poison.deaths >= ALONE_DEATHS else 1


def _table(runs: tuple[Found, ...]) -> Table:
    table = Table(title="what ended the process, and what was given up")
    for column in ("", *(run.name for run in runs)):
        table.add_column(column, justify="right" if column else "left")
    for field in ("jobs", "deaths", "dead_letters", "failed", "others_ended_well", "seconds"):
        table.add_row(field.replace("_", " "), *(f"{getattr(run, field):,}" for run in runs))
    return table


if __name__ == "__main__":
    sys.exit(main())

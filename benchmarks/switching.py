"""How soon a switch counts on a busy pipeline: from the command to the last call under the old state.

One worker runs all stages while jobs arrive at a steady rate. Versions of a workflow are activated and rolled back, and
a model is killed and freed again, over and over. From the calls on record (`v_calls`) comes, for each switch, the last
call that began under the old state: the old version, or the killed model. A job keeps the version that it was taken in
with, so for versions the last job that was taken in under the old one is shown too: its climbs come after that. Times
are from the beginning of the command's work (without the start of Python), and from the moment its record was written.
At the end every job is accounted for, and the worker is the one that was started.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from checker.evidence import broken
from checker.ledger import Ledger
from confluent_kafka import Producer
from lab.children import LabError, wait_for
from lab.site import ROOT, WORKFLOW, Site, bare_producer, job
from rich.console import Console
from rich.table import Table

from penstock.lines import connection
from penstock.local.stack import EmbeddedStack, embedded
from processors.bundle import SETTINGS, read_bundle
from processors.models import load_models
from processors.releases import Act, activation, rollback
from schemas.control import Bundle, Control, ControlKind, SwitchKind
from streams.kafka.operate import publish_control
from streams.kafka.switchboard import Switchboard

RATE: Final = 40.0
"""Jobs a second, by default."""
EACH: Final = 20
"""Switches of each kind, by default."""
PAUSE_S: Final = 1.5
KILLED: Final = "local-small"
VERSIONED: Final = ("activate", "rollback")
KINDS: Final = (*VERSIONED, "kill")


@dataclass(frozen=True)
class Switched:
    """One switch: what it was, when the command began and when its record was written (seconds since 1970)."""

    kind: str
    began: float
    written: float
    old: str
    """The condition on v_calls that a call under the old state fulfils."""


class Load(threading.Thread):
    """Publishes jobs at a steady rate until told to stop."""

    def __init__(self, site: Site, rate: float) -> None:
        super().__init__(name="load", daemon=True)
        self.ids: list[str] = []
        self._site, self._rate = site, rate
        self._told = threading.Event()
        self._producer: Producer = bare_producer(site.settings.broker)

    def run(self) -> None:
        """Publish."""
        began = time.monotonic()
        while not self._told.wait(max(0.0, began + len(self.ids) / self._rate - time.monotonic())):
            number = len(self.ids)
            job_id = f"{self._site.name}-{number:05d}"
            self._producer.produce(f"{self._site.settings.prefix}jobs", job(job_id, number))
            self._producer.poll(0)
            self.ids.append(job_id)

    def stop(self) -> list[str]:
        """End it; return the ids of what was published."""
        self._told.set()
        self.join()
        self._producer.flush(30)
        return self.ids


class Hand:
    """Throws the switches as the commands do."""

    def __init__(self, site: Site) -> None:
        self._link = connection(site.settings)
        self._models = load_models(ROOT / "models.toml", environ={})
        self._first = read_bundle(ROOT / "workflows" / WORKFLOW)
        settings = self._first.files[SETTINGS] + "\n# another version\n"
        self._second: Bundle = self._first.but(files={**self._first.files, SETTINGS: settings})
        self.done: list[Switched] = []

    def prepare(self) -> None:
        """Put the second version on the registry."""
        with Switchboard(self._link) as board:
            board.write([self._second])

    def activate(self) -> None:
        """From whichever version is in force to the other."""
        began = time.time()
        with Switchboard(self._link) as board:
            now = board.state.active[WORKFLOW]
            other = self._second if now == self._first.version else self._first
            there = board.published(WORKFLOW)
            switch = activation(WORKFLOW, other.version, there, board.state, self._models, _act())
            assert switch is not None
            self._write(board, switch, "activate", began, f"version = '{now}'")

    def roll_back(self) -> None:
        """To the last known good version."""
        began = time.time()
        with Switchboard(self._link) as board:
            now = board.state.active[WORKFLOW]
            switch = rollback(WORKFLOW, None, board.published(WORKFLOW), board.state, self._models, _act())
            self._write(board, switch, "rollback", began, f"version = '{now}'")

    def _write(self, board: Switchboard, switch: Control, kind: str, began: float, old: str) -> None:
        written = time.time()
        board.write(switches=[switch])
        self.done.append(Switched(kind, began, written, old))

    def kill(self, kind: ControlKind) -> None:
        """Stop the model, or let it go on."""
        began = time.time()
        at = datetime.now(UTC)
        control = Control(kind=kind, target=SwitchKind.MODEL, name=KILLED, who="benchmark", why="measured", at=at)
        publish_control(self._link, control)
        self.done.append(Switched(kind.value, began, began, f"model = '{KILLED}'"))


def _act() -> Act:
    return Act("benchmark", "measured", datetime.now(UTC))


def measure(stack: EmbeddedStack, rate: float, each: int, console: Console) -> dict[str, Any]:
    """Switch on a busy pipeline; the times by kind in milliseconds, and what became of the jobs.

    Raises:
        LabError: the pipeline is stuck, or a promise is broken.
    """
    with _site(stack) as site:
        worker = site.start()
        load = Load(site, rate)
        load.start()
        wait_for(lambda: site.ends.read() >= rate, "a busy pipeline", 60, (worker,))
        hand = Hand(site)
        hand.prepare()
        steps = [step for _ in range(each) for step in _round(hand)]
        with console.status("switching") as status:
            for number, step in enumerate(steps, 1):
                status.update(f"switch {number} of {len(steps)}, {len(load.ids):,} jobs published")
                step()
                time.sleep(PAUSE_S)
        ids = load.stop()
        site.wait_for_ends(len(ids), alive=(worker,))
        lost = broken(site.evidence(Ledger(ids), alive=(worker,)))
        if lost:
            raise LabError(f"promises broken: {lost}")
        ends = [*(one.began for one in hand.done[1:]), time.time()]
        found = [(one, _last_call(site, one, until)) for one, until in zip(hand.done, ends, strict=True)]
        taken = [
            (one, _last_taken_in(site, one, until))
            for one, until in zip(hand.done, ends, strict=True)
            if one.kind in VERSIONED
        ]
        said = {kind: _times([pair for pair in found if pair[0].kind == kind]) for kind in KINDS}
        said |= {f"{kind}, taken in": _times([pair for pair in taken if pair[0].kind == kind]) for kind in VERSIONED}
        return {"jobs": len(ids), "rate": rate, "worker": "the one that was started", "lost": 0, **said}


def _round(hand: Hand) -> Iterator[Any]:
    yield hand.activate
    yield hand.roll_back
    yield lambda: hand.kill(ControlKind.KILL)
    yield lambda: hand.kill(ControlKind.UNKILL)


@contextmanager
def _site(stack: EmbeddedStack) -> Iterator[Site]:
    site = Site(stack, "switching")
    try:
        yield site
    finally:
        site.close()


def _last_call(site: Site, switched: Switched, until: float) -> float:
    """When the last call under the old state began; the record's own time if none did after it."""
    asked = f"SELECT max(toUnixTimestamp64Micro(started_at)) FROM v_calls WHERE {switched.old} AND "
    asked += f"started_at < fromUnixTimestamp64Micro({int(until * 1e6)})"
    return max(switched.written, int(site.warehouse.ask(asked)[0][0]) / 1e6)


def _last_taken_in(site: Site, switched: Switched, until: float) -> float:
    """When the last job was taken in under the old version; the record's own time if none was after it."""
    asked = f"SELECT max(toUnixTimestamp64Micro(time)) FROM stage_events WHERE workflow_{switched.old} "
    asked += f"AND stage = 'intake' AND time < fromUnixTimestamp64Micro({int(until * 1e6)})"
    return max(switched.written, int(site.warehouse.ask(asked)[0][0]) / 1e6)


def _times(found: list[tuple[Switched, float]]) -> dict[str, float]:
    """Milliseconds from the written record, and from the command's beginning, to the last call under the old state."""
    said: dict[str, float] = {"n": len(found)}
    for name, since in (("", [one.written for one, _ in found]), ("command_", [one.began for one, _ in found])):
        waits_ms = [(last - at) * 1000 for at, (_, last) in zip(since, found, strict=True)]
        said |= {f"{name}p{share}_ms": float(np.percentile(waits_ms, share)) for share in (50, 99)}
    return said


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=RATE, help="jobs a second (default: %(default)s)")
    parser.add_argument("--each", type=int, default=EACH, help="switches of each kind (default: %(default)s)")
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    console = Console(stderr=told.json)
    with tempfile.TemporaryDirectory(prefix="penstock-switching-") as folder, embedded(Path(folder)) as stack:
        found = measure(stack, told.rate, told.each, console)
    if told.json:
        print(json.dumps(found, indent=2))
        return 0
    table = Table("switch", "times", "p50", "p99", "from the command's beginning: p50", "p99", box=None, pad_edge=False)
    for kind in (*(f"{one}, taken in" for one in VERSIONED), *KINDS):
        one = found[kind]
        cells = (f"{one[name]:.0f} ms" for name in ("p50_ms", "p99_ms", "command_p50_ms", "command_p99_ms"))
        table.add_row(kind, str(one["n"]), *cells)
    console.print(table)
    console.print(
        f"{found['jobs']:,} jobs at {found['rate']:g} a second, none lost or ended twice; one worker throughout"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

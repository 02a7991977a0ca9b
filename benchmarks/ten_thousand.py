"""Ten thousand jobs through the whole pipeline, undisturbed and with kill -9: is each there once, and called once?

A bare client publishes plain JSON, a bare client reads what is committed, and the model server's own log says what was
called. Prints the invariants with their figures; ends with 1 if one is violated.
"""

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from checker.evidence import Evidence, Finding, findings, surplus_calls
from checker.ledger import Ledger, kill
from lab.children import Child, LabError, wait_for
from lab.site import ROOT, Site
from rich.console import Console
from rich.table import Table

from penstock.local.stack import EmbeddedStack, embedded

OPEN_CALLS: Final = 50
SLOW_MS: Final = 1_000
"""Latency of every model until the last kill, so that many calls are open then; then each has its own again."""
END_S: Final = 3_600.0


@dataclass(frozen=True)
class Outcome:
    """One run: what it left behind."""

    name: str
    seen: Evidence
    findings: list[Finding]
    open_at_kill: int
    took_s: float

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        return not any(finding.broken for finding in self.findings)

    def figures(self) -> dict[str, int | float]:
        """What was counted."""
        seen = self.seen
        return {
            "jobs published": len(seen.ledger.published),
            "jobs with a result": len(seen.results),
            "jobs that wait for a person": len(seen.escalations),
            "rows of v_jobs": len(seen.job_rows),
            "attempts on record": len(seen.attempts),
            "calls in the model server's log": sum(map(len, seen.calls.values())),
            "calls open at the kills": self.open_at_kill,
            "surplus calls": len(surplus_calls(seen)),
            "seconds": round(self.took_s, 1),
        }


def run(stack: EmbeddedStack, name: str, jobs: int, kills: int, console: Console) -> Outcome:
    """All jobs through a pipeline of their own, whose only worker is killed so many times."""
    with ExitStack() as life:
        site = Site(stack, name)
        life.callback(site.close)
        worker = site.start()
        began = time.perf_counter()
        if kills:
            site.models.set_latency(SLOW_MS)
        published = site.publish(jobs)
        dead, open_calls = [], 0
        for number in range(kills):
            with console.status(f"{name}: waiting for the moment of kill {number + 1} of {kills}"):
                open_calls += _wait_for_open_calls(site, worker, jobs // 10 + number * jobs // 50)
                dead.append(kill(worker.kill(), "the only worker"))
                worker = site.start()
        site.models.set_latency(None)
        with console.status(f"{name}: {jobs:,} jobs"):
            site.wait_for_ends(jobs, END_S, (worker,))
            took_s = time.perf_counter() - began
            seen = site.evidence(Ledger(published, faults=dead), (worker,))
            return Outcome(name, seen, findings(seen), open_calls, took_s)


def _wait_for_open_calls(site: Site, worker: Child, ends: int) -> int:
    """Wait until so many jobs have ended and many calls are open; return how many are."""
    site.wait_for_ends(ends, END_S, (worker,))

    def enough() -> int | None:
        count = site.models.open_calls()
        return count if count >= OPEN_CALLS else None

    return wait_for(enough, f"{OPEN_CALLS} open calls", alive=(worker,))


def show(outcomes: list[Outcome], console: Console) -> None:
    """Print figures and promises."""
    table = Table(title="what was found")
    table.add_column("")
    for outcome in outcomes:
        table.add_column(outcome.name, justify="right")
    for name in outcomes[0].figures():
        table.add_row(name, *(f"{outcome.figures()[name]:,}" for outcome in outcomes))
    table.add_section()
    for index, finding in enumerate(outcomes[0].findings):
        table.add_row(finding.promise, *(_mark(outcome.findings[index].broken) for outcome in outcomes))
    console.print(table)
    for outcome in outcomes:
        for line in (str(one) for one in outcome.findings if one.broken):
            console.print(f"[red]{outcome.name}: {line}")
    console.print("Every promise holds." if all(one.holds for one in outcomes) else "[red]Promises are broken.")


def _mark(count: int) -> str:
    return f"[red]{count:,}" if count else "[green]0"


def main() -> int:
    """Run both ways and print; 1 if a promise is broken or a run can't go on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000, help="jobs in each run (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=1, help="in the killed run (default: %(default)s)")
    parser.add_argument("--only", choices=("undisturbed", "killed"), help="one of the two runs")
    parser.add_argument("--json", action="store_true", help="print JSON on standard output, the rest on standard error")
    told = parser.parse_args()
    console = Console(stderr=told.json)
    try:
        outcomes = _run_all(told.only, told.jobs, told.kills, console)
    except LabError as error:
        console.print(f"[red]{error}")
        return 1
    show(outcomes, console)
    if told.json:
        print(json.dumps([_as_json(one) for one in outcomes], indent=2))
    return 0 if all(one.holds for one in outcomes) else 1


def _run_all(only: str | None, jobs: int, kills: int, console: Console) -> list[Outcome]:
    names = [only] if only else ["undisturbed", "killed"]
    with tempfile.TemporaryDirectory(prefix="penstock-10k-") as folder:
        data = Path(folder)
        trained = ROOT / ".penstock" / "cache" / "models"
        trained.mkdir(parents=True, exist_ok=True)
        (data / "model_server").mkdir()
        (data / "model_server" / "models").symlink_to(trained)  # trained once, named by their content
        with embedded(data) as stack:
            return [run(stack, name, jobs, kills if name == "killed" else 0, console) for name in names]


def _as_json(outcome: Outcome) -> dict[str, object]:
    broken = {finding.promise: finding.broken for finding in outcome.findings}
    return {
        "run": outcome.name,
        "holds": outcome.holds,
        "figures": outcome.figures(),
        "broken": broken,
        "wrong_rows": outcome.seen.wrong_rows,
    }


if __name__ == "__main__":
    sys.exit(main())

"""Chaos: jobs through a pipeline that is broken all the while by a seeded plan; is each there once, and called once?

Ends with 0 if every promise holds, 1 if one is broken, 3 if the run could not be carried out (a stuck pipeline too).
"""

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from checker.warehouse import WarehouseRefused
from confluent_kafka import KafkaException
from lab.children import LabError
from lab.site import ROOT
from rich.console import Console

from chaos.driver import run
from chaos.plan import LONG, PARTS, SHORT, plan
from chaos.report import Screen, as_json, show
from penstock.local.errors import StackError
from penstock.local.stack import embedded

CANNOT_RUN = 3


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(
        prog="python -m chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1, help="of the plan (default: %(default)s)")
    parser.add_argument("--jobs", type=int, help=f"default: {LONG.jobs:,}; with --short {SHORT.jobs}")
    parser.add_argument("--short", action="store_true", help="few faults, in less than a minute")
    parser.add_argument("--duplicates", action="store_true", help="publish jobs again, and idempotency keys twice")
    parser.add_argument("--together", default="", help="parts that share a process, with commas (default: none do)")
    parser.add_argument("--data", type=Path, help="folder for data and logs, kept; default: one that is removed again")
    parser.add_argument("--plan", action="store_true", help="print the plan and do nothing")
    parser.add_argument("--json", action="store_true", help="print JSON on standard output, the rest on standard error")
    told = parser.parse_args()
    size = SHORT if told.short else LONG
    if told.jobs is not None and told.jobs < 2 * size.window:
        parser.error(f"--jobs {told.jobs}: this plan needs at least {2 * size.window} to break something between them")
    together = tuple(filter(None, told.together.split(",")))
    if strange := set(together) - set(PARTS):
        parser.error(f"--together {', '.join(sorted(strange))}: no such part; there are {', '.join(PARTS)}")
    sized = replace(size, jobs=told.jobs or size.jobs)
    chosen = plan(told.seed, sized, duplicates=told.duplicates, together=together)
    console = Console(stderr=told.json)
    screen = Screen(chosen, console)
    screen.print_plan()
    if told.plan:
        return 0
    try:
        with _data(told.data) as data, embedded(data) as stack, screen:
            outcome = run(stack, chosen, screen)
    except (LabError, StackError, KafkaException, WarehouseRefused) as error:
        console.print(f"[red]seed {told.seed}: {error}", markup=True, highlight=False)
        return CANNOT_RUN
    show(outcome, console)
    if told.json:
        print(json.dumps(as_json(outcome), indent=2, default=str))
    return 0 if outcome.holds else 1


@contextlib.contextmanager
def _data(kept: Path | None) -> Iterator[Path]:
    """A folder for the stack, with the models that were trained once, named by their content."""
    with tempfile.TemporaryDirectory(prefix="penstock-chaos-") as folder:
        data = kept or Path(folder)
        trained = ROOT / ".penstock" / "cache" / "models"
        trained.mkdir(parents=True, exist_ok=True)
        (data / "model_server").mkdir(parents=True)
        (data / "model_server" / "models").symlink_to(trained)
        yield data


if __name__ == "__main__":
    sys.exit(main())

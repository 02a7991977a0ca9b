"""What a chaos run shows while it runs and when it is over."""

from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from chaos.driver import Outcome
from chaos.plan import Die, Fault, Kill, Plan, Restart, RestartBroker, WarehouseOutage, Zombie


def sentence(fault: Fault) -> str:
    """A fault in words."""
    match fault:
        case Kill(stage=stage, open_calls=calls):
            words = f"kill -9 of {stage}" + (f" with {calls} calls open" if calls else "")
        case Die(stage=stage, nth=nth):
            words = f"kill -9 of {stage}; its successor dies between produce and commit {nth}"
        case RestartBroker(how=Restart.MID_TRANSACTION, stage=stage, nth=nth):
            words = f"broker killed while {stage} is frozen before its commit {nth}"
        case RestartBroker(how=how):
            words = f"broker restarted, {how}"
        case Zombie(stage=stage, same_slot=True, nth=nth):
            words = f"{stage} frozen before its commit {nth}; wakes beside a successor in the same slot"
        case Zombie(stage=stage):
            words = f"{stage} frozen; wakes when another member has its partitions"
        case WarehouseOutage(seconds=seconds):
            words = f"warehouse frozen for {seconds:g} s"
    return words


class Screen:
    """A progress bar, and a line for each fault; the driver's watcher."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self._plan = plan
        self._console = console
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console, transient=True)
        self._task = self._bar.add_task("jobs ended", total=plan.size.jobs)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def print_plan(self) -> None:
        """The plan, before anything happens."""
        plan = self._plan
        table = Table(title=f"plan of seed {plan.seed}: {plan.size.jobs:,} jobs")
        table.add_column("when so many have ended", justify="right")
        table.add_column("what is broken")
        for fault in plan.faults:
            table.add_row(f"{fault.at:,}", sentence(fault))
        self._console.print(table)
        extras = sum(map(len, plan.extras.values()))
        self._console.print(f"and {extras} records beside the jobs: {', '.join(sorted(self._kinds()))}")

    def _kinds(self) -> set[str]:
        return {extra.value for several in self._plan.extras.values() for extra in several}

    def progress(self, ends: int) -> None:
        """So many jobs have ended."""
        self._bar.update(self._task, completed=ends)

    def breaking(self, fault: Fault) -> None:
        """This is carried out now."""
        self._bar.console.print(f"[dim]{fault.at:>7,}[/]  {sentence(fault)}", highlight=False)


def show(outcome: Outcome, console: Console) -> None:
    """Print figures and promises."""
    table = Table(title=f"what was found, seed {outcome.plan.seed}")
    table.add_column("")
    table.add_column("", justify="right")
    for name, figure in outcome.figures.items():
        table.add_row(name, _words(figure))
    table.add_section()
    for finding in outcome.findings:
        table.add_row(finding.promise, f"[red]{finding.broken:,}" if finding.broken else "[green]0")
    console.print(table)
    for finding in outcome.findings:
        if finding.broken:
            console.print(f"[red]{escape(str(finding))}", highlight=False)
    again = f"--seed {outcome.plan.seed} --jobs {outcome.plan.size.jobs}"
    console.print("Every promise holds." if outcome.holds else f"[red]Promises are broken; again with {again}")


def _words(figure: Any) -> str:
    match figure:
        case int():
            return f"{figure:,}"
        case dict():
            return ", ".join(f"{name} {count:,}" for name, count in sorted(figure.items()))
        case list():
            return "; ".join(figure) or "none"
        case _:
            return str(figure)


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The outcome for programs; the keys are stable."""
    return {
        "seed": outcome.plan.seed,
        "jobs": outcome.plan.size.jobs,
        "holds": outcome.holds,
        "faults": [{"at": fault.at, "what": sentence(fault)} for fault in outcome.plan.faults],
        "figures": {name.replace(" ", "_").replace("'", ""): figure for name, figure in outcome.figures.items()},
        "broken": {finding.promise: finding.broken for finding in outcome.findings},
        "examples": {finding.promise: finding.examples for finding in outcome.findings if finding.broken},
    }

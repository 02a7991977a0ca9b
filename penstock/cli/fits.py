"""calibrate, train-router: what a workflow learns from cases with known answers, written into its folder."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from penstock import compose
from penstock.cli.codes import Exit, Failed
from penstock.cli.output import AsJson, console, errors, number, print_json, say
from penstock.cli.project import workflow_folder
from penstock.cli.session import Session, session_of
from penstock.evals import read_cases
from processors.bundle import CALIBRATION, PRIOR, read_bundle
from processors.cases import Case
from processors.evaluators.calibration import Calibration
from processors.policy.prior import Prior
from processors.providers.http import connect
from processors.workflow import compile_workflow
from schemas.base import json_text

BANKING77: Final = "banking77"

Named = Annotated[str, typer.Argument(help="A workflow of the project.")]
Cases = Annotated[
    str,
    typer.Option(
        "--cases",
        help='Labelled cases, one {"id", "input", "expected" or "must"} a line, that no prompt was written with; '
        f"{BANKING77} is the calibration part of the data that comes with Penstock.",
        show_default="evals/calibration.jsonl of the workflow",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the fit, write nothing.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(calibrate)
    app.command("train-router")(train_router)


def calibrate(
    context: typer.Context, *, workflow: Named, cases: Cases = "", dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Learn what this workflow's raw scores are worth, and write calibration.json. It calls the models."""
    session = session_of(context)
    folder = workflow_folder(session, workflow)
    source, labelled = _cases(folder, cases)
    with errors.status(f"running {len(labelled)} cases through {workflow} …"):
        fitted = asyncio.run(_fit(session, folder, labelled, source))
    if not dry_run:
        (folder / CALIBRATION).write_text(fitted.model_dump_json(indent=1) + "\n", encoding="utf-8")
    if as_json:
        print_json({"workflow": workflow, "written": not dry_run, **fitted.model_dump(mode="json")})
        return
    console.print(evidence(fitted))
    say("nothing was written" if dry_run else f"wrote {folder / CALIBRATION}; put it in force with: penstock publish")


def train_router(  # noqa: PLR0913 -- a command's options
    context: typer.Context,
    *,
    workflow: Named,
    cases: Cases = "",
    from_outcomes: Annotated[
        bool, typer.Option("--from-outcomes", help="Learn from jobs on record instead of cases; calls no model.")
    ] = False,
    days: Annotated[int, typer.Option("--days", min=1, max=365, help="Of these, the jobs of the last days.")] = 30,
    version: Annotated[str | None, typer.Option("--version", help="Of these, the jobs of one version only.")] = None,
    recover: Annotated[
        float,
        typer.Option("--recover", min=0.01, max=1, help="The share of what a higher rung adds that is to be kept."),
    ] = 0.8,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Learn from an input's words where on the ladder its job should start, and write prior.json if that is worth it.

    With cases, every rung is called for every one of them. Where the words tell no more than the length of an input
    does, nothing is written, and jobs start as the policy says.
    """
    session = session_of(context)
    folder = workflow_folder(session, workflow)
    if from_outcomes and cases:
        raise Failed(Exit.USAGE, "--cases or --from-outcomes, not both")
    if from_outcomes:
        prior = _trained_on_record(session, folder, days, version, recover)
    else:
        prior = _trained_on_cases(session, folder, cases, recover)
    worth_it = any(scale.held_out.worth_it for scale in prior.scales)
    written = worth_it and not dry_run
    if written:
        (folder / PRIOR).write_text(prior.model_dump_json(indent=1) + "\n", encoding="utf-8")
    if as_json:
        print_json({"workflow": workflow, "worth_it": worth_it, "written": written, **prior.model_dump(mode="json")})
        return
    console.print(_learned(prior))
    if not worth_it:
        say("not worth it here: an input's words tell no more than its length; jobs start as the policy says")
    else:
        say("nothing was written" if dry_run else f"wrote {folder / PRIOR}; put it in force with: penstock publish")


def _trained_on_record(session: Session, folder: Path, days: int, version: str | None, recover: float) -> Prior:
    from penstock.learned_routing import on_record, train  # noqa: PLC0415 -- the local extra may be missing
    from sinks.ladders import climbs  # noqa: PLC0415 -- nothing else here asks the warehouse

    compiled = compile_workflow(read_bundle(folder))
    with session.warehouse() as warehouse:
        found = climbs(warehouse, compiled.name, days, version)
    observed = on_record(found.rows, len(compiled.settings.ladder))
    source = f"jobs of the last {days} days" + (f" under {version}" if version else "")
    return train(observed, compiled.variant_hashes, recover=recover, source=source, today=datetime.now(UTC).date())


def _trained_on_cases(session: Session, folder: Path, named: str, recover: float) -> Prior:
    from penstock.learned_routing import observe, train  # noqa: PLC0415 -- the local extra may be missing

    source, labelled = _cases(folder, named)
    compiled = compile_workflow(read_bundle(folder))
    models = compose.models(session.settings)

    async def observed(moved: Callable[[], None]) -> Any:
        providers = connect(models)
        try:
            return await observe(read_bundle(folder), labelled, models, providers, moved)
        finally:
            await asyncio.gather(*(provider.aclose() for provider in providers.values()))

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=errors, transient=True) as progress:
        total = len(labelled) * len(compiled.settings.ladder)
        task = progress.add_task(f"cases of {escape(compiled.name)} at every rung", total=total)
        answers = asyncio.run(observed(lambda: progress.advance(task)))
    return train(answers, compiled.variant_hashes, recover=recover, source=source, today=datetime.now(UTC).date())


def _cases(folder: Path, named: str) -> tuple[str, tuple[Case, ...]]:
    path = Path(named) if named else folder / "evals" / "calibration.jsonl"
    if named != BANKING77 and not path.is_file():
        raise Failed(Exit.USAGE, f"there are no cases at {path}: name a file, or {BANKING77}, with --cases")
    if named == BANKING77:
        from penstock.local.banking77 import split  # noqa: PLC0415 -- 10,000 rows that no other command needs

        part = split("calibrate")
        return "banking77, calibration part", tuple(
            Case(f"banking77-{place}", {"text": message.text}, json_text({"intent": message.label}))
            for place, message in enumerate(part)
        )
    return path.name, read_cases(path)


async def _fit(session: Session, folder: Path, labelled: tuple[Case, ...], source: str) -> Calibration:
    from penstock.calibrate import calibrate as fit  # noqa: PLC0415 -- the local extra may be missing

    models = compose.models(session.settings)
    providers = connect(models)
    try:
        return await fit(folder, labelled, models, providers, source=source, today=datetime.now(UTC).date())
    finally:
        for provider in providers.values():
            await provider.aclose()


def evidence(fitted: Calibration) -> Table:
    """Each map with what it rests on."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    columns = ("variant", "model", "method", "cases", "right", "held-out ECE", "accepted", "of these right", "at least")
    for place, column in enumerate(columns):  # a name that does not fit goes on below: it is needed whole
        shown.add_column(column, justify="left" if place < 3 else "right", overflow="fold")
    for one in fitted.maps:
        found: Any = one.evidence
        share = None if not found.accepted else found.accepted_correct / found.accepted
        cells = (
            one.method,
            str(found.n),
            number(found.correct / found.n),
            number(found.held_out_ece),
            str(found.accepted),
        )
        shown.add_row(escape(one.variant), escape(one.model), *cells, number(share), number(found.lower_bound))
    return shown


def _learned(prior: Prior) -> Table:
    """Each rung after the first: who starts there, what that keeps, and how well the words tell."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    columns = ("start at", "jobs", "kept of what it adds", "APGR", "95 %", "by length", "worth it")
    for place, column in enumerate(columns):
        shown.add_column(column, justify="left" if place == 0 else "right")
    for scale in prior.scales:
        found = scale.held_out
        between = f"{number(found.apgr_low)} to {number(found.apgr_high)}"
        verdict = "[green]yes[/]" if found.worth_it else "[yellow]no[/]"
        kept = f"{found.recovered:.1%}"
        cells = (f"{found.jobs:.1%}", kept, number(found.apgr), between, number(found.length_apgr), verdict)
        shown.add_row(escape(scale.variant), *cells)
    return shown

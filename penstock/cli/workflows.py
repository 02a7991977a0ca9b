"""lint and calibrate: a workflow's folder, checked and fitted before it is released."""

import asyncio
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.markup import escape
from rich.table import Table

from penstock import compose
from penstock.cli.codes import Exit, Failed
from penstock.cli.output import AsJson, console, errors, number, print_json, say
from penstock.cli.project import workflow_folder
from penstock.cli.session import Session, session_of
from penstock.evals import read_cases
from processors.bundle import CALIBRATION
from processors.cases import Case
from processors.evaluators.calibration import Calibration
from processors.lint import lint as lint_folder
from processors.lint import settings_schema
from processors.problems import Level, ModelsError, Problem, errors_of
from processors.providers.http import connect
from schemas.base import json_text

BANKING77: Final = "banking77"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(lint)
    app.command()(calibrate)


def lint(
    context: typer.Context,
    *,
    folders: Annotated[
        list[Path] | None,
        typer.Argument(help="Workflow folders; by default all of the project.", show_default=False),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of workflow.toml instead, for your editor.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check workflow folders before they are released. Exit code 1 when any has an error; warnings are no error."""
    if schema:
        print_json(settings_schema())
        return
    session = session_of(context)
    chosen = folders or compose.workflow_folders(session.settings)
    if not chosen:
        raise Failed(Exit.USAGE, f"no workflows under {session.settings.project / 'workflows'}: name a folder to check")
    found = [(folder, problem) for folder in chosen for problem in _problems(session, folder)]
    bad = bool(errors_of(problem for _, problem in found))
    if as_json:
        said = [{**asdict(problem), "folder": str(folder), "level": problem.level.value} for folder, problem in found]
        print_json({"ok": not bad, "folders": [str(folder) for folder in chosen], "problems": said})
    else:
        _show(chosen, found)
    if bad:
        raise typer.Exit(Exit.BAD)


def _problems(session: Session, folder: Path) -> tuple[Problem, ...]:
    """A broken models.toml is a problem like any other: it keeps every workflow from being released."""
    try:
        return lint_folder(folder, compose.models(session.settings), datetime.now(UTC).date())
    except ModelsError as error:
        return error.problems


def _show(folders: Iterable[Path], found: list[tuple[Path, Problem]]) -> None:
    for folder in folders:
        problems = [problem for place, problem in found if place == folder]
        for problem in problems:
            colour = "red" if problem.level is Level.ERROR else "yellow"
            place = f"{folder / problem.file}:{problem.line}" if problem.line else str(folder / problem.file)
            field = f" {escape(problem.field)}:" if problem.field else ""
            line = f"{escape(place)}: [{colour}]{problem.level.value}[/]:{field} {escape(problem.found)}"
            console.print(f"{line} [dim]→ {escape(problem.mend)}[/]", soft_wrap=True, highlight=False)
        count = len(errors_of(problems))
        verdict = (
            f"{count} error{'' if count == 1 else 's'}, {len(problems) - count} warnings" if problems else "all is well"
        )
        say(f"{folder}: {verdict}")


def calibrate(
    context: typer.Context,
    *,
    workflow: Annotated[str, typer.Argument(help="A workflow of the project.")],
    cases: Annotated[
        str,
        typer.Option(
            "--cases",
            help='Labelled cases, one {"id", "input", "expected" or "must"} a line, that no prompt was written with; '
            f"{BANKING77} is the calibration part of the data that comes with Penstock.",
            show_default="evals/calibration.jsonl of the workflow",
        ),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the fit, write nothing.")] = False,
    as_json: AsJson = False,
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
    for place, column in enumerate(columns):
        shown.add_column(column, justify="left" if place < 3 else "right")
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

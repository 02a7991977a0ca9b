"""lint and calibrate: a workflow's folder, checked and fitted before it is released."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape

from penstock import compose
from penstock.cli.codes import Exit, Failed
from penstock.cli.output import AsJson, console, print_json, say
from penstock.cli.session import Session, session_of
from processors.lint import lint as lint_folder
from processors.lint import settings_schema
from processors.problems import Level, ModelsError, Problem, errors_of

BANKING77: Final = "banking77"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(lint)


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

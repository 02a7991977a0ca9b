"""The command line: its options, its commands, and the one place where an error becomes a sentence and an exit code."""

import logging
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.codes import TABLE, Exit
from penstock.cli.lazy import LazyGroup
from penstock.cli.session import Session

app = typer.Typer(
    name="penstock",
    cls=LazyGroup,
    help="Run, feed and question a Penstock pipeline: jobs in, checked answers out, every step on record.",
    epilog=TABLE.replace("\n", " "),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(asked: bool) -> None:  # noqa: FBT001 -- typer calls it so
    if asked:
        from importlib.metadata import version  # noqa: PLC0415 -- only here

        sys.stdout.write(f"penstock {version('penstock')}\n")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    *,
    project: Annotated[
        Path | None,
        typer.Option(
            "--project",
            exists=True,
            help="Where the project is: a folder with penstock.toml, or one inside it. Default: here.",
            show_default=False,
        ),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Keep what all commands need."""
    context.obj = Session(project, debug)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)  # what it logs, it raises as well
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run one command line; return its exit code."""
    try:
        app(arguments, prog_name="penstock")
    except SystemExit as end:  # usage errors, --help and commands that name their code
        return end.code if isinstance(end.code, int) else Exit.BUG
    except BaseException as error:  # noqa: BLE001 -- the edge of the program
        return _fail(error, debug="--debug" in arguments)
    return Exit.OK


def _fail(error: BaseException, *, debug: bool) -> int:
    from penstock.cli.endings import ending_of  # noqa: PLC0415 -- it knows every room's errors, and so loads them
    from penstock.cli.output import fail  # noqa: PLC0415 -- as above

    if debug:
        traceback.print_exception(error)
    ending = ending_of(error)
    fail(ending.text)
    return ending.code

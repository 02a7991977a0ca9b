"""state: what ordered stages remember, whether it agrees with its changelog, and the way out when it does not."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from penstock.cli.codes import Exit, Failed
from penstock.cli.output import AsJson, console, print_json, warn
from penstock.cli.session import session_of
from streams.kafka.states import CHANGELOGS, Memory, accept, memories


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(no_args_is_help=True, help="See what ordered stages remember, and mend it.")
    group.command()(show)
    group.command()(reset)
    app.add_typer(group, name="state")


def show(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show how many jobs each partition remembers, and whether that agrees with what was written last.

    Exit code 1 when a partition does not: its stage refuses to start.
    """
    _print(memories(session_of(context).connection()), as_json=as_json)


def reset(
    context: typer.Context,
    *,
    stage: Annotated[str, typer.Argument(help=f"One of {', '.join(CHANGELOGS)}.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Have a stage take what its changelog holds as the truth.

    What was lost stays lost: a job that is published again may run again. Stop the workers of the stage first.
    """
    if stage not in CHANGELOGS:
        raise Failed(Exit.USAGE, f"{stage} remembers nothing; there are {', '.join(CHANGELOGS)}")
    connection = session_of(context).connection()
    if not yes:
        typer.confirm(
            f"Jobs that {stage} does not remember may run again. Take what is there as the truth?", abort=True
        )
    _print(accept(connection, stage), as_json=as_json)


def _print(found: tuple[Memory, ...], *, as_json: bool) -> None:
    if as_json:
        print_json({"partitions": [asdict(one) for one in found], "agrees": not any(one.problem for one in found)})
    else:
        shown = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("stage", "partition", "entries", "agrees"):
            shown.add_column(name, justify="left" if name == "stage" else "right")
        for one in found:
            shown.add_row(one.stage, str(one.partition), f"{one.entries:,}", "no" if one.problem else "yes")
        console.print(shown)
        for one in found:
            if one.problem:
                warn(one.problem)
    if any(one.problem for one in found):
        raise typer.Exit(Exit.BAD)

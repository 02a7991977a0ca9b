"""topics plan, topics apply: what the pipeline's topics lack, and making it so."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from penstock import wanted
from penstock.cli.codes import Exit
from penstock.cli.output import AsJson, console, print_json, say, warn
from penstock.cli.session import session_of
from streams.kafka.admin import Change, plan
from streams.kafka.admin import apply as make


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Show or make what the pipeline's topics lack.", no_args_is_help=True)
    group.command("plan")(show)
    group.command("apply")(apply)
    app.add_typer(group, name="topics")


def show(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show what `apply` would create, change and refuse. Exit code 1 when there is anything."""
    session = session_of(context)
    changes = plan(session.connection(), wanted.topics(session.settings))
    _print(changes, [], as_json=as_json)
    if changes:
        raise typer.Exit(Exit.BAD)


def apply(
    context: typer.Context,
    *,
    as_json: AsJson = False,
    lose: Annotated[
        bool, typer.Option("--lose-records", help="Also shorten a retention, which deletes what is older.")
    ] = False,
) -> None:
    """Create missing topics and change settings. Exit code 1 when something was refused."""
    session = session_of(context)
    connection, topics = session.connection(), wanted.topics(session.settings)
    changes = plan(connection, topics)
    made = [change for change in changes if not change.refused and (lose or not change.loses)]
    make(connection, made, topics, wanted.replication(session.settings))
    left = [change for change in changes if change not in made]
    _print(left, made, as_json=as_json)
    if left:
        raise typer.Exit(Exit.BAD)


def _print(open_: "tuple[Change, ...] | list[Change]", made: list[Change], *, as_json: bool) -> None:
    if as_json:
        print_json({"changes": [asdict(change) for change in open_], "made": [asdict(change) for change in made]})
        return
    if not open_ and not made:
        say("every topic is as it should be")
        return
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "topic", "setting", "found", "wanted"):
        shown.add_column(column, overflow="fold")
    for change in made:
        shown.add_row("[green]made[/]", change.topic, change.setting, change.found, escape(change.wanted))
    for change in open_:
        colour = "red" if change.refused else "yellow" if change.loses else "cyan"
        word = "refused" if change.refused else "would lose" if change.loses else "to do"
        shown.add_row(f"[{colour}]{word}[/]", change.topic, change.setting, change.found, escape(change.wanted))
    console.print(shown)
    for change in open_:
        if change.refused:
            warn(f"{change.topic}: {change.setting}: {change.refused}")
        elif change.loses:
            warn(f"{change.topic}: {change.setting}: deletes {change.loses}; `penstock topics apply --lose-records`")

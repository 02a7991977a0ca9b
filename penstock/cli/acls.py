"""acls: the least that each component must be allowed, as a table, as JSON, as commands; or made so."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from penstock import lines
from penstock.cli.codes import Exit, Failed
from penstock.cli.output import AsJson, console, print_json, say
from penstock.cli.session import session_of
from penstock.compose import sources
from streams.kafka.acls import Grant, allow, components


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(acls)


def acls(
    context: typer.Context,
    *,
    only: Annotated[
        list[str] | None, typer.Option("--component", help="Only this one; may be repeated. Default: all.")
    ] = None,
    instances: Annotated[
        list[str] | None,
        typer.Option("--instance", help="A machine that workers run on; may be repeated. Default: this one."),
    ] = None,
    user: Annotated[
        str, typer.Option("--user", help="How principals are named; {} stands for the component.")
    ] = "penstock-{}",
    commands: Annotated[bool, typer.Option("--commands", help="Print kafka-acls commands.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Add them to the cluster.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the least that each component must be allowed on a Kafka with access control.

    Components are processes: a stage alone (`penstock run --stages intake`), `worker` for all of them in one, `sink`;
    and people: `producer`, `reader`, `operator`. Who does two things gets both sets.
    """
    session = session_of(context)
    found = components(lines.connection(session.settings), instances or (), sources(session.settings))
    if unknown := sorted(set(only or ()) - found.keys()):
        raise Failed(Exit.USAGE, f"--component: {', '.join(unknown)} is none; there are {', '.join(found)}")
    if "{}" not in user and len(only or found) > 1:
        raise Failed(
            Exit.USAGE, f"--user {user} would give one principal every right; let {{}} stand for the component"
        )
    chosen = {f"User:{user.replace('{}', name)}": (name, found[name]) for name in only or found}
    if apply:
        connection = session.connection()
        for principal, (_, grants) in chosen.items():
            allow(connection, principal, grants)
    if as_json:
        print_json(
            {
                "applied": apply,
                "components": {
                    name: {"principal": principal, "grants": [asdict(grant) for grant in grants]}
                    for principal, (name, grants) in chosen.items()
                },
            }
        )
    elif commands:
        for principal, (name, grants) in chosen.items():
            say(f"# {name}")
            for grant in grants:
                say(grant.command(principal, session.settings.broker))
    else:
        console.print(table(chosen))


def table(chosen: dict[str, tuple[str, tuple[Grant, ...]]]) -> Table:
    """For people."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("component", "resource", "name", "operations"):
        shown.add_column(column, overflow="fold")
    for name, grants in chosen.values():
        for grant in grants:
            shown.add_row(
                name, grant.resource, grant.name + ("*" if grant.prefixed else ""), ", ".join(grant.operations)
            )
        shown.add_section()
    return shown

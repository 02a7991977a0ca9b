"""up, down, status: the embedded stack, and how everything is."""

from typing import Annotated, Final

import typer
from rich.markup import escape
from rich.table import Table

from penstock import wanted
from penstock.cli.codes import Exit
from penstock.cli.health import Health, look
from penstock.cli.output import AsJson, console, errors, print_json, say, warn
from penstock.cli.session import Session, session_of
from penstock.settings import Settings

COLOURS: Final = {"running": "green", "external": "green", "stopped": "dim", "starting": "yellow"}
NEXT: Final = """\
next   penstock run                                   run the pipeline (in a terminal of its own)
       penstock submit banking_intent --text "…"      give it something to do
       penstock demo                                  or see it all at once"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(down)
    app.command()(status)


def up(
    context: typer.Context,
    *,
    as_json: AsJson = False,
    wait_s: Annotated[float, typer.Option("--wait", min=1, help="Seconds that all of it may take.")] = 300.0,
) -> None:
    """Start the embedded Kafka, warehouse and model server, and wait until they serve.

    The first start fetches the broker and trains the local models: about a minute. Safe to repeat.
    """
    session = session_of(context)
    start(session.settings, wait_s)
    wanted.ensure(session.settings, session.connection())
    health = look(session.settings)
    if as_json:
        print_json(health.to_json())
    else:
        console.print(table(health))
        say(NEXT)


def start(settings: Settings, wait_s: float = 300.0) -> None:
    """Start the stack, with its steps as lines on standard error."""
    from penstock.local.stack import up as start_stack  # noqa: PLC0415 -- the local extra may be missing

    with errors.status("starting the stack …") as spinner:

        def step(sentence: str) -> None:
            errors.print(f"[dim]·[/] {escape(sentence)}", highlight=False, soft_wrap=True)
            spinner.update(f"{escape(sentence)} …")

        start_stack(settings, progress=step, wait_s=wait_s)


def down(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Stop the embedded stack; its data stays in .penstock/."""
    stopped = stop(session_of(context))
    if as_json:
        print_json({"stopped": stopped})
    else:
        say("the stack is stopped" if stopped else "there was nothing to stop")


def stop(session: Session) -> bool:
    """Stop the stack; whether there was one."""
    from penstock.local.stack import down as stop_stack  # noqa: PLC0415 -- as above

    return stop_stack(session.settings, progress=lambda step: errors.print(f"[dim]·[/] {escape(step)}"))


def status(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show each component and how far each stage is behind. Exit code 1 when something is wrong."""
    health = look(session_of(context).settings)
    if as_json:
        print_json(health.to_json())
    else:
        console.print(table(health))
        if health.lag is not None:
            console.print(lag_table(health))
        for problem in health.problems:
            warn(problem)
    if not health.healthy:
        raise typer.Exit(Exit.BAD)


def table(health: Health) -> Table:
    """The components."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("component", "state", "address", "pid", "restarts"):
        shown.add_column(column, overflow="fold")
    for name, part in health.components.items():
        colour = COLOURS.get(part.state, "red")
        pid = str(part.pid) if part.pid is not None else ""
        state = f"[{colour}]{part.state}[/]"
        shown.add_row(name.replace("_", " "), state, part.address, pid, str(part.restarts) if part.pid else "")
    return shown


def lag_table(health: Health) -> Table:
    """Records that each stage has not worked on yet."""
    shown = Table(box=None, pad_edge=False, header_style="bold", title="waiting records", title_justify="left")
    for stage in health.lag or {}:
        shown.add_column(stage, justify="right")
    shown.add_row(*(str(behind) for behind in (health.lag or {}).values()))
    return shown

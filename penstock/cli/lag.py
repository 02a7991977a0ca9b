"""lag: how far each stage and the sink are behind, since when, and whether retention is about to win."""

import time
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from penstock.cli.codes import Exit
from penstock.cli.output import AsJson, console, print_json, warn
from penstock.cli.session import session_of
from penstock.compose import sources
from streams.groups import GROUPS, of_sources
from streams.kafka.lags import Lag, lags


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(lag)


def lag(
    context: typer.Context,
    *,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")] = False,
    every_s: Annotated[float, typer.Option("--every", min=0.5, help="Seconds between two looks of --watch.")] = 2.0,
) -> None:
    """Show what waits and what is in work, by stage and topic, and how old it is.

    Exit code 1 when a record is older than half of its topic's retention, or a group's offsets are not what they should
    be. Counts of records are upper bounds: Kafka's offsets count transactions' markers too.
    """
    session = session_of(context)
    connection = session.connection()
    groups = (*of_sources(sources(session.settings)), *GROUPS)
    while True:
        found = lags(connection, groups)
        show(found, as_json=as_json)
        if not watch:
            break
        time.sleep(every_s)
    if any(one.alarm for one in found):
        raise typer.Exit(Exit.BAD)


def show(found: tuple[Lag, ...], *, as_json: bool) -> None:
    """Print it."""
    if as_json:
        print_json(to_json(found))
        return
    console.print(table(found))
    for one in found:
        if one.alarm:
            warn(one.alarm)


def to_json(found: tuple[Lag, ...]) -> dict[str, Any]:
    """With stable keys."""
    return {
        "at": time.time(),
        "lags": [asdict(one) | {"alarm": one.alarm} for one in found],
        "alarms": [one.alarm for one in found if one.alarm],
    }


def table(found: tuple[Lag, ...]) -> Table:
    """For people."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("stage")
    shown.add_column("topic")
    for column in ("end", "watermark", "waiting", "in work", "oldest waiting", "oldest", "retention"):
        shown.add_column(column, justify="right")
    for one in found:
        counts = (str(number) for number in (one.end, one.committed, one.waiting, one.in_work))
        ages = (age(one.oldest_waiting_s), age(one.oldest_s), age(one.retention_s))
        shown.add_row(one.stage, one.topic, *counts, *ages, style="red" if one.alarm else "")
    return shown


def age(seconds: float | None) -> str:
    """A duration for people, in the unit that fits."""
    if seconds is None:
        return "-"
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.1f} {unit}"
    return f"{seconds / 86_400:.1f} d"

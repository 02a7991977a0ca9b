"""query: SQL against the warehouse, read-only."""

import csv
import sys
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final

import typer
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from penstock.cli.codes import Exit, Failed
from penstock.cli.output import AsJson, console, plain, print_json
from penstock.cli.session import session_of
from sinks.queries import run_query
from sinks.warehouse import Rows

NULL: Final = "∅"
SHOWN: Final = 500


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(query)


def query(
    context: typer.Context,
    *,
    sql: Annotated[str, typer.Argument(help='A SELECT, for example "SELECT status, count() FROM v_jobs GROUP BY 1".')],
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header; NULL is \\N.")] = False,
) -> None:
    """Ask the warehouse. It can read every table and view and change nothing. NULL (unknown) is shown as ∅."""
    if as_json and as_csv:
        raise Failed(Exit.USAGE, "--json or --csv, not both")
    with session_of(context).warehouse() as warehouse:
        answer = run_query(warehouse, sql)
    if as_json:
        print_json({"columns": list(answer.columns), "rows": answer.dicts()})
    elif as_csv:
        write_csv(answer)
    else:
        console.print(table(answer))


def write_csv(answer: Rows) -> None:
    """CSV on standard output; ClickHouse's mark for NULL tells it from empty text."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows([["\\N" if value is None else _csv_cell(value) for value in row] for row in answer.rows])


def _csv_cell(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def table(answer: Rows) -> Group:
    """The answer for people: at most 500 rows of it."""
    more = len(answer.rows) - SHOWN
    count = f"{len(answer.rows)} row{'' if len(answer.rows) == 1 else 's'}"
    caption = f"the first {SHOWN} of {count}; --csv and --json print all" if more > 0 else count
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(answer.columns):
        is_number = any(isinstance(row[place], int | float | Decimal) for row in answer.rows)
        shown.add_column(escape(column), justify="right" if is_number else "left", overflow="fold")
    for row in answer.rows[:SHOWN]:
        shown.add_row(*(cell(value) for value in row))
    return Group(shown, f"[dim]{caption}[/]")


def cell(value: Any) -> str:
    """A value for people; NULL can't be taken for empty text, nor for the text NULL."""
    match value:
        case None:
            return f"[dim]{NULL}[/]"
        case float():
            return f"{value:.6g}"
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        case str():
            return escape(value)
        case _:
            return escape(str(plain(value) if isinstance(value, Decimal) else value))

"""Where commands write: tables and sentences for people, JSON for programs, errors on standard error."""

import sys
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape

from schemas.base import Record

console = Console()
errors = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON with stable keys instead.")]

UNKNOWN = "[dim]unknown[/]"


def print_json(value: Any) -> None:
    """One JSON value on standard output, money and times as strings."""
    text = orjson.dumps(value, default=plain, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
    sys.stdout.write(text.decode() + "\n")


def print_json_line(value: Any) -> None:
    """One JSON value on a line of its own, at once."""
    sys.stdout.write(orjson.dumps(value, default=plain, option=orjson.OPT_NON_STR_KEYS).decode() + "\n")
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    match value:
        case Decimal():
            return format(value, "f")
        case Record():
            return {name: getattr(value, name) for name in type(value).model_fields}
        case bytes():
            return value.decode("utf-8", "replace")
        case _:
            return str(value)


def say(sentence: str) -> None:
    """A sentence for people."""
    console.print(escape(sentence), soft_wrap=True, highlight=False)


def warn(sentence: str) -> None:
    """A sentence on standard error."""
    errors.print(f"[yellow]![/] {escape(sentence)}", soft_wrap=True, highlight=False)


def fail(sentence: str) -> None:
    """An error on standard error."""
    errors.print(f"[bold red]error:[/] {escape(sentence)}", soft_wrap=True, highlight=False)


def usd(amount: Decimal | None) -> str:
    """Money for people: enough digits to tell small amounts apart; unknown is said, never zero."""
    if amount is None:
        return UNKNOWN
    if amount == 0:
        return "$0"
    places = 4 if abs(amount) >= Decimal("0.01") else 7
    return f"${amount:.{places}f}"


def ms(value: float | None) -> str:
    """Milliseconds for people."""
    if value is None:
        return UNKNOWN
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def number(value: float | None, places: int = 3) -> str:
    """A number that may be unknown."""
    return UNKNOWN if value is None else f"{value:.{places}f}"


def clock(moment: datetime) -> str:
    """A time of day, UTC, with milliseconds."""
    return moment.strftime("%H:%M:%S.%f")[:-3]

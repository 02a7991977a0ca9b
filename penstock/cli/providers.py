"""`penstock providers check`: whether each model of models.toml answers, and does what the file says of it."""

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape
from rich.table import Table

from penstock.cli.codes import Exit, Failed
from penstock.cli.output import UNKNOWN, AsJson, console, ms, print_json, say, usd
from penstock.cli.session import session_of

if TYPE_CHECKING:
    from penstock.provider_check import Checked

COLUMNS: Final = ("model", "answers as", "schema", "log-probs", "usage", "begins", "ends", "cost")

providers = typer.Typer(no_args_is_help=True, help="Check the providers and models of models.toml.")


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    app.add_typer(providers, name="providers")


@providers.command()
def check(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(help="Models; default: all.", show_default=False)] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Make one cheap real call per model, and show what it can do beside what models.toml says.

    Exit code 0 when every model answers and does what the file says of it, 1 when one does not.
    """
    from penstock import compose  # noqa: PLC0415 -- as all that a command alone needs
    from penstock.provider_check import check as checked  # noqa: PLC0415
    from processors.providers.http import connect  # noqa: PLC0415

    models = compose.models(session_of(context).settings)
    chosen = tuple(names or models.models)
    if strange := [name for name in chosen if name not in models.models]:
        raise Failed(Exit.USAGE, f"models.toml has no model {', '.join(strange)}; it has {', '.join(models.models)}")

    async def run() -> "list[Checked]":
        made = connect(models)
        try:
            return await checked(models, made, chosen)
        finally:
            await asyncio.gather(*(one.aclose() for one in made.values()))

    found = asyncio.run(run())
    if as_json:
        print_json([asdict(one) | {"lacks": list(one.lacks)} for one in found])
    else:
        console.print(_table(found))
        for one in found:
            for lack in one.lacks:
                say(f"{one.model}: models.toml says it has {lack}, and there was none: mend `capabilities`")
            if not one.answered:
                say(f"{one.model}: {one.said}")
            elif one.cost_unknown_because:
                say(f"{one.model}: its cost is unknown: {one.cost_unknown_because}")
    if any(one.lacks or not one.answered for one in found):
        raise typer.Exit(Exit.BAD)


def _table(found: "list[Checked]") -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, name in enumerate(COLUMNS):  # a name that does not fit goes on below: it is needed whole
        table.add_column(name, overflow="fold" if place < 2 else "ellipsis", no_wrap=place >= 2)
    for one in found:
        table.add_row(
            escape(one.model),
            escape(one.model_answered or UNKNOWN) if one.answered else "[red]no answer[/]",
            _held(one.schema_enforced),
            _held(one.logprobs),
            _held(one.usage),
            "-" if one.first_token_ms is None else ms(one.first_token_ms),
            ms(one.total_ms),
            usd(one.cost_usd),
        )
    return table


def _held(there: object) -> str:
    """Nothing was asked for, or it was there, or not."""
    return "-" if there is None else "[green]yes[/]" if there else "[red]no[/]"

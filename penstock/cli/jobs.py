"""submit: publish one job and, unless told otherwise, wait for what comes of it."""

from collections.abc import Iterator
from typing import Annotated, Final

import typer
from rich.console import Group
from rich.json import JSON
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from penstock.cli.codes import Exit
from penstock.cli.job_input import FileInput, JsonInput, TextInput, job_input
from penstock.cli.output import AsJson, console, errors, ms, number, print_json, print_json_line, say, usd
from penstock.cli.session import session_of
from penstock.client import Delta, JobFields, JobResult, Options, Receipt, SyncClient

COLOURS: Final = {"accepted": "green", "escalated": "yellow", "failed": "red"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(submit)


def submit(  # noqa: PLR0913 -- a command's options
    context: typer.Context,
    workflow: Annotated[str, typer.Argument(help="The workflow that shall do it.")],
    *,
    text: TextInput = None,
    value: JsonInput = None,
    file: FileInput = None,
    job_id: Annotated[
        str | None, typer.Option("--job-id", help="Its identity, for you to choose. Random by default.")
    ] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="On whose behalf.", show_default="default")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the result.")] = True,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for the result.")] = 60.0,
    stream: Annotated[bool, typer.Option("--stream", help="Show the answer while it is being written.")] = False,
    as_json: AsJson = False,
) -> None:
    """Publish a job and print its result.

    With --stream and --json each piece of the answer is one line, and the last line is the result.

    Exit code 0 when it was answered or waits for a person, 1 when it ended otherwise, 4 when it took too long.
    """
    asked = job_input(text, value, file)
    session = session_of(context)
    session.connection()
    fields: JobFields = {} if tenant is None else {"tenant": tenant}
    if stream and not wait:
        raise typer.BadParameter("--stream shows what --no-wait does not wait for: drop one of them")
    with SyncClient(settings=session.settings, options=Options(read_results=wait)) as client:
        if stream:
            coming = client.stream(workflow, asked, job_id=job_id, timeout_s=timeout_s, **fields)
            _exit_unless_answered(_lines(coming) if as_json else _written(coming))
            return
        receipt = client.submit(workflow, asked, job_id=job_id, **fields)
        if not wait:
            _print_receipt(receipt, as_json=as_json)
            return
        with errors.status(f"job {escape(receipt.job_id)} is on its way …"):
            result = client.wait(receipt.job_id, timeout_s, tenant=tenant)
        _print_result(result, as_json=as_json)  # before the client is closed, which takes a moment
    _exit_unless_answered(result)


def _exit_unless_answered(result: JobResult) -> None:
    if not (result.answered or result.open):
        raise typer.Exit(Exit.BAD)


def _lines(coming: Iterator[Delta | JobResult]) -> JobResult:
    """Print what comes as one JSON value a line; the result that it ends with."""
    item: Delta | JobResult
    for item in coming:
        print_json_line(item.to_json() if isinstance(item, JobResult) else item)
    assert isinstance(item, JobResult), "a stream ends with its result"
    return item


def _written(coming: Iterator[Delta | JobResult]) -> JobResult:
    """Print an answer as it is being written, and then its result."""
    attempt = ""
    for item in coming:
        if isinstance(item, JobResult):
            say("" if attempt else "nothing of this answer is shown before it is checked")
            console.print(panel(item))
            return item
        if item.text and attempt and (item.attempt_id != attempt or item.seq == 0):
            say("\n… once more, by another attempt:")
        attempt = item.attempt_id or attempt
        console.out(item.text, end="", highlight=False)
    raise AssertionError("a stream ends with its result")


def _print_result(result: JobResult, *, as_json: bool) -> None:
    if as_json:
        print_json(result.to_json())
    else:
        console.print(panel(result))


def _print_receipt(receipt: Receipt, *, as_json: bool) -> None:
    place = f"{receipt.topic}/{receipt.partition}/{receipt.offset}"
    if as_json:
        print_json({"job_id": receipt.job_id, "trace_id": receipt.trace_id, "published_at": place})
    else:
        say(f"job {receipt.job_id} is published ({place}); follow it with: penstock trace {receipt.job_id}")


def panel(result: JobResult) -> Panel:
    """A result for people."""
    colour = COLOURS.get(result.status, "green" if result.answered else "red")
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    for name, shown in _facts(result):
        facts.add_row(name, shown)
    answer = result.proposed if result.open else result.output
    body = JSON.from_data(answer)
    title = f"[bold {colour}]{escape(result.status)}[/]  [dim]{escape(result.job_id)}[/]"
    return Panel(
        Group(*([body] if answer is not None else []), facts), title=title, title_align="left", border_style=colour
    )


def _facts(result: JobResult) -> list[tuple[str, str]]:
    answered_by = f"{escape(result.variant or '')} ({escape(result.model or 'unknown')}, rung {result.rung})"
    facts = [
        ("confidence", number(result.confidence)),
        ("reason", escape(result.reason)),
        ("answered by", answered_by if result.variant else ""),
        ("cost", f"{usd(result.cost_usd)} in {result.attempts} attempt{'' if result.attempts == 1 else 's'}"),
        ("time", ms(result.timings.total_ms) if not result.open else ""),
        ("workflow", escape(f"{result.workflow}@{result.workflow_version}")),
        ("waits for", _waits_for(result) if result.open else ""),
        ("next", f"penstock trace {escape(result.job_id)}"),
    ]
    return [(name, shown) for name, shown in facts if shown]


def _waits_for(result: JobResult) -> str:
    until = f" until {result.expires_at:%Y-%m-%d %H:%M} UTC" if result.expires_at else ""
    owner = f"a person ({escape(result.workflow)}'s reviewers)"
    return f"{owner}{until}: what is shown is a proposal, not an answer"

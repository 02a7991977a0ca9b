"""The command: stack, worker, messages, baseline, warehouse, account."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Annotated, Any, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from penstock import compose, wanted
from penstock.cli.codes import Exit, Failed
from penstock.cli.demo.baseline import always_largest
from penstock.cli.demo.feed import WORKFLOW, Tally, choose, feed
from penstock.cli.demo.report import Report, report
from penstock.cli.demo.view import next_steps, page
from penstock.cli.demo.worker import running_worker
from penstock.cli.output import AsJson, console, errors, print_json, say
from penstock.cli.session import Session, session_of
from penstock.cli.stack import start, stop
from penstock.local.banking77 import split
from sinks.summary import Summary, demo_summary, job_counts

WARM_UP: Final = 20
"""Jobs that go first and don't count: a new broker's first transactions take seconds, and later ones don't."""
SINK_LIMIT_S: Final = 30.0
SINK_STEP_S: Final = 0.2
WATCH_STEP_S: Final = 0.5


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    context: typer.Context,
    *,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="How many messages.")] = 1000,
    rate: Annotated[float, typer.Option("--rate", min=0.1, help="Messages published a second.")] = 50.0,
    timeout_s: Annotated[float, typer.Option("--timeout", min=1, help="Seconds that one job may take.")] = 120.0,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running, if the demo started it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send real customers' messages through the whole pipeline and account for every one.

    Starts the embedded stack if need be, runs a worker, publishes messages that no model here was trained on, waits for
    all results, puts the same messages to the largest model to compare, and shows what the warehouse knows. Exit code
    1 when a job is unaccounted for, doubled or failed, when less than half are accepted, or when less than 95 % are
    accepted or with a person.
    """
    session = session_of(context)
    if WORKFLOW not in {folder.name for folder in compose.workflow_folders(session.settings)}:
        place = session.settings.project
        raise Failed(
            Exit.USAGE, f"the demo needs the workflow {WORKFLOW}, and {place} has none: run it in its checkout"
        )
    tally = _choose(jobs)
    with _stack(session, keep=keep) as ours:
        found = _run(session, tally, rate, timeout_s)
    if as_json:
        print_json(found.to_json())
    else:
        console.print(page(found))
        say("\n" + next_steps(found, stopped=ours and not keep))
    if not found.ok:
        raise typer.Exit(Exit.BAD)


def _choose(jobs: int) -> Tally:
    messages = split("unseen")
    if jobs > len(messages):
        raise typer.BadParameter(f"there are {len(messages)} unseen messages", param_hint="--jobs")
    return choose(messages, jobs)


@contextlib.contextmanager
def _stack(session: Session, *, keep: bool) -> Iterator[bool]:
    """A running stack; whether it was started here, in which case it is stopped at the end."""
    from penstock.local.stack import status  # noqa: PLC0415 -- the local extra may be missing

    ours = not status(session.settings).healthy
    if ours:
        start(session.settings)
    try:
        yield ours
    finally:
        if ours and not keep:
            stop(session)


def _run(session: Session, tally: Tally, rate: float, timeout_s: float) -> Report:
    settings = session.settings
    wanted.ensure(session.settings, session.connection())
    with errors.status("starting a worker …") as spinner, running_worker(settings) as check:
        spinner.update("warming up …")
        warm_up = choose(split("calibrate"), WARM_UP)
        asyncio.run(_watched(feed(settings, warm_up, rate, timeout_s, lambda: None), check))
        spinner.stop()
        began = time.monotonic()
        with _progress(tally) as moved:
            asyncio.run(_watched(feed(settings, tally, rate, timeout_s, moved), check))
        seconds = time.monotonic() - began
        if not tally.results:
            raise Failed(Exit.BAD, f"no job of {len(tally.asked)} came to anything within {timeout_s:g} s")
        summary = _await_sink(session, tally)
    with errors.status("asking the largest model the same …"):
        baseline = asyncio.run(always_largest(settings, tally, lambda: None))
    return report(tally, baseline, summary, seconds)


async def _watched(work: Coroutine[Any, Any, None], check: Callable[[], None]) -> None:
    """Do the work, but not beyond the end of the worker that it waits for."""

    async def watch() -> None:
        while True:
            check()
            await asyncio.sleep(WATCH_STEP_S)

    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch())
        await work
        watching.cancel()


@contextlib.contextmanager
def _progress(tally: Tally) -> Iterator[Callable[[], None]]:
    """A live line about the tally, on standard error."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[green]{task.fields[accepted]} accepted[/]  [yellow]{task.fields[escalated]} with a person[/]"),
        TextColumn("{task.fields[other]} other  [cyan]{task.fields[in_flight]} in flight[/]"),
    )
    with Progress(*columns, console=errors) as shown:
        task = shown.add_task("messages", total=len(tally.asked), accepted=0, escalated=0, other=0, in_flight=0)

        def moved() -> None:
            status = tally.by_status
            accepted, escalated = status["accepted"], status["escalated"]
            shown.update(
                task,
                completed=len(tally.results),
                accepted=accepted,
                escalated=escalated,
                other=len(tally.results) - accepted - escalated,
                in_flight=tally.in_flight,
            )

        yield moved


def _await_sink(session: Session, tally: Tally) -> Summary:
    """Wait until the warehouse has every job of which there is a result, then ask it for all it knows about them."""
    until = time.monotonic() + SINK_LIMIT_S
    with session.warehouse() as warehouse, errors.status("waiting for the sink …"):
        while sum(job_counts(warehouse, tenant=tally.tenant).values()) < len(tally.results):
            if time.monotonic() > until:
                break  # the check says how many are missing
            time.sleep(SINK_STEP_S)
        return demo_summary(warehouse, tenant=tally.tenant)

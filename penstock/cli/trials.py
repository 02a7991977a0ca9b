"""render, try, eval: a workflow as its owner looks at it before it is released. No broker is needed."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from penstock import compose
from penstock.cli import trial_view
from penstock.cli.codes import Exit, Failed
from penstock.cli.job_input import FileInput, JsonInput, TextInput, job_input
from penstock.cli.output import AsJson, console, errors, print_json, say
from penstock.cli.project import workflow_folder
from penstock.cli.session import Session, session_of
from penstock.evals import Evaluation, evaluate, figures, read_cases
from penstock.trial import ACCEPTED, ESCALATED, Trial, Trials, opened
from processors.bundle import CASES, read_bundle
from processors.problems import FilesError
from processors.prompts import RenderError
from processors.releases import chosen
from processors.workflow import compile_workflow
from schemas.base import json_text
from schemas.control import Bundle
from schemas.job import Job

AT_ONCE: Final = 16
T = TypeVar("T")

Name = Annotated[str, typer.Argument(help="The workflow.")]
Version = Annotated[str | None, typer.Option("--version", help="A published version; by default the project's folder.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(render)
    app.command("try")(try_)
    app.command("eval")(eval_)


def render(
    context: typer.Context,
    *,
    name: Name,
    text: TextInput = None,
    value: JsonInput = None,
    file: FileInput = None,
    variant: Annotated[str | None, typer.Option("--variant", help="By default the first rung's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the exact messages that a model would get for an input. Nothing is called."""
    session = session_of(context)
    workflow = compile_workflow(_bundle(session, name, None))
    rungs = {rung.variant: rung for rung in workflow.settings.ladder}
    rung = workflow.settings.ladder[0] if variant is None else rungs.get(variant)
    if rung is None:
        raise Failed(Exit.USAGE, f"{name} has no variant {variant!r}; there are {', '.join(rungs)}")
    job = Job(workflow=name, input=json_text(job_input(text, value, file)))
    if violations := workflow.input_schema.violations(json.loads(job.input)):
        raise Failed(Exit.BAD, f"the input does not fit {name}: {'; '.join(violations)}")
    try:
        prompt = workflow.prompt(rung).render(job)
    except RenderError as error:
        raise Failed(Exit.BAD, f"the prompt can't be written for this input: {error}") from error
    messages = [{"role": message.role, "content": message.content} for message in prompt.messages]
    if as_json:
        print_json({"variant": rung.variant, "model": rung.model, "sha256": prompt.sha256, "messages": messages})
        return
    for message in messages:
        console.print(Panel(escape(message["content"]), title=message["role"], title_align="left", border_style="dim"))
    say(f"for {rung.model} (variant {rung.variant}), prompt {prompt.sha256[:16]}")


def try_(  # noqa: PLR0913 -- a command's options
    context: typer.Context,
    *,
    name: Name,
    text: TextInput = None,
    value: JsonInput = None,
    file: FileInput = None,
    version: Version = None,
    watch: Annotated[bool, typer.Option("--watch", help="Again whenever a file of the workflow is saved.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send one input through all stages, really calling the models, and show every decision.

    Exit code 0 when it was answered or would go to a person, 1 when it ended otherwise.
    """
    session = session_of(context)
    asked = job_input(text, value, file)
    if watch and (as_json or version):
        raise Failed(Exit.USAGE, "--watch shows the folder again and again: it goes with neither --json nor --version")

    def once() -> Trial:
        return _run(session, name, version, lambda trials: trials.run({"workflow": name, "input": asked}))

    if watch:
        _watch(session, name, once)
        return
    trial = once()
    if as_json:
        print_json(trial_view.as_json(trial))
    else:
        console.print(trial_view.tree(trial))
    if trial.status not in {ACCEPTED, ESCALATED}:
        raise typer.Exit(Exit.BAD)


def _watch(session: Session, name: str, once: Callable[[], Trial]) -> None:
    from watchfiles import watch as changes  # noqa: PLC0415 -- nothing else needs it

    folder = session.settings.project / "workflows" / name

    def shown() -> RenderableType:
        try:
            return trial_view.tree(once())
        except FilesError as error:
            return Group(*(f"[red]{escape(str(problem))}[/]" for problem in error.problems))

    console.print(shown())
    say(f"watching {folder}; Ctrl-C ends")
    for _ in changes(folder, debounce=50, step=20):
        console.rule()
        console.print(shown())


def eval_(  # noqa: PLR0913 -- as above
    context: typer.Context,
    *,
    name: Name,
    cases: Annotated[Path | None, typer.Option("--cases", help=f"By default {CASES} of the workflow.")] = None,
    version: Version = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="The first so many cases only.")] = None,
    at_once: Annotated[int, typer.Option("--at-once", min=1, max=256, help="Cases in flight.")] = AT_ONCE,
    max_cost_usd: Annotated[
        float | None, typer.Option("--max-cost", min=0, help="US dollars to spend at most.")
    ] = None,
    at_least: Annotated[
        float | None, typer.Option("--at-least", min=0, max=1, help="Exit code 1 if fewer accepted answers are right.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a workflow's cases through all stages: how many are accepted, how many of these are right, what it costs.

    Exit code 1 when fewer are right than --at-least says, or when the money ran out before the last case.
    """
    session = session_of(context)
    wanted = read_cases(cases or session.settings.project / "workflows" / name / CASES)[:limit]
    ceiling = None if max_cost_usd is None else Decimal(str(max_cost_usd))
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task(f"cases of {escape(name)}", total=len(wanted))

        def moved(done: Evaluation) -> None:
            progress.update(task, completed=len(done.judged) + done.skipped)

        done = _run(
            session,
            name,
            version,
            lambda trials: evaluate(trials, name, wanted, at_once=at_once, ceiling_usd=ceiling, moved=moved),
        )
    if as_json:
        print_json({"workflow": name, **trial_view.evaluation_json(done)})
    else:
        console.print(trial_view.evaluation(name, done))
    _conclude(done, at_least)


def _conclude(done: Evaluation, at_least: float | None) -> None:
    right = figures(done.judged).right.value
    if done.skipped:
        raise Failed(
            Exit.BAD, f"{done.skipped} cases were not run: {done.spent_usd:f} USD are spent, or a price is unknown"
        )
    if at_least is not None and (right is None or right < at_least):
        found = "nothing was accepted" if right is None else f"{right:.3f} of the accepted answers are right"
        raise Failed(Exit.BAD, f"{found}; at least {at_least:g} was asked for")


def _run(session: Session, name: str, version: str | None, work: Callable[[Trials], Coroutine[Any, Any, T]]) -> T:
    bundle = _bundle(session, name, version)

    async def run() -> T:
        async with opened(compose.models(session.settings), bundle) as trials:
            return await work(trials)

    return asyncio.run(run())


def _bundle(session: Session, name: str, version: str | None) -> Bundle:
    """The workflow as it lies in the folder, or a published version of it."""
    return read_bundle(workflow_folder(session, name)) if version is None else _published(session, name, version)


def _published(session: Session, name: str, version: str) -> Bundle:
    from streams.kafka.switchboard import Switchboard  # noqa: PLC0415 -- the only use of Kafka here

    board = Switchboard(session.connection())
    board.look()
    return chosen(name, version, board.published(name))

"""run: worker processes of the pipeline, until they are told to stop."""

import asyncio
import os
import signal
import sys
import threading
from typing import Annotated

import structlog
import typer

from penstock import workers as team
from penstock.cli.codes import Exit, Failed
from penstock.cli.output import errors
from penstock.cli.session import Session, session_of
from penstock.logs import configure_logs, name_process
from penstock.run import PARTS, run_worker


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(run)


def run(
    context: typer.Context,
    *,
    stages: Annotated[
        str,
        typer.Option(
            "--stages",
            help=f"Which parts this process runs, separated by commas: {', '.join(PARTS)}. Scale a part by running it "
            "in more processes.",
            show_default="all",
        ),
    ] = ",".join(PARTS),
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="Run so many worker processes, start those again that die, and drain them all at the end.",
            show_default="one, in this process",
        ),
    ] = None,
    supervised: Annotated[bool, typer.Option("--supervised", hidden=True)] = False,
) -> None:
    """Run the pipeline's stages and the sink, until Ctrl-C or SIGTERM; what is in flight is finished.

    Workflows of the project that have no active version are published and activated.
    """
    parts = _parts(stages)
    session = session_of(context)
    settings = session.settings
    configure_logs(settings.log_level)
    if workers is not None:
        raise typer.Exit(_run_several(session, parts, workers))
    session.connection()
    log = structlog.get_logger("penstock")
    if supervised:
        _end_with_the_supervisor()
    else:
        errors.print(f"penstock: {' → '.join(parts)} at {settings.broker}; stop with Ctrl-C", highlight=False)

    def ready() -> None:
        log.info("ready", parts=list(parts), broker=settings.broker)
        if supervised:
            sys.stdout.buffer.write(team.READY)
            sys.stdout.buffer.flush()

    run_worker(settings, parts, on_ready=ready)
    log.info("stopped")


def _run_several(session: Session, parts: tuple[str, ...], count: int) -> int:
    """The supervisor; the worst exit code of its workers."""
    settings = session.settings
    if settings.slot is not None:
        raise Failed(
            Exit.USAGE, f"--workers with slot = {settings.slot}: every worker needs a slot of its own; unset it"
        )
    if count > settings.max_slots:
        raise Failed(Exit.USAGE, f"--workers {count} is more than max_slots = {settings.max_slots}")
    name_process(worker=f"{settings.instance}/supervisor")
    errors.print(
        f"penstock: {count} workers of {' → '.join(parts)} at {settings.broker}; stop with Ctrl-C", highlight=False
    )
    options = ("--debug",) if session.debug else ()
    command = (sys.executable, "-m", "penstock.cli", *options, "--project", str(settings.project), "run")
    of_one = (*command, "--stages", ",".join(parts), "--supervised")
    return asyncio.run(team.Workers(of_one, count, settings.drain_s).run())


def _parts(named: str) -> tuple[str, ...]:
    chosen = {part.strip() for part in named.split(",") if part.strip()}
    if unknown := sorted(chosen - set(PARTS)):
        raise Failed(Exit.USAGE, f"--stages: {', '.join(unknown)} is no stage; there are {', '.join(PARTS)}")
    if not chosen:
        raise Failed(Exit.USAGE, f"--stages names nothing; there are {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in chosen)


def _end_with_the_supervisor() -> None:
    """Drain when standard input ends: the supervisor held its other side, and is gone."""

    def watch() -> None:
        while os.read(0, 1024):  # no file object: it would be locked when the process ends
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="leash", daemon=True).start()

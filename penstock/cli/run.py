"""run: one worker process of the pipeline, until it is told to stop."""

import logging
import sys
from typing import Annotated, Any, Final, TextIO, cast

import structlog
import typer

from penstock.cli.codes import Exit, Failed
from penstock.cli.output import errors
from penstock.cli.session import session_of
from penstock.run import PARTS, run_worker

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(run)


def run(
    context: typer.Context,
    stages: Annotated[
        str,
        typer.Option(
            "--stages",
            help=f"Which parts this process runs, separated by commas: {', '.join(PARTS)}. Scale a part by running it "
            "in more processes.",
            show_default="all",
        ),
    ] = ",".join(PARTS),
) -> None:
    """Run the pipeline's stages and the sink in this process, until Ctrl-C or SIGTERM; what is in flight is finished.

    Workflows of the project that have no active version are published and activated.
    """
    parts = _parts(stages)
    session = session_of(context)
    settings = session.settings
    configure_logs(settings.log_level)
    session.connection()
    errors.print(f"penstock: {' → '.join(parts)} at {settings.broker}; stop with Ctrl-C", highlight=False)
    log = structlog.get_logger("penstock")
    run_worker(settings, parts, on_ready=lambda: log.info("ready", parts=list(parts), broker=settings.broker))
    log.info("stopped")


def _parts(named: str) -> tuple[str, ...]:
    chosen = {part.strip() for part in named.split(",") if part.strip()}
    if unknown := sorted(chosen - set(PARTS)):
        raise Failed(Exit.USAGE, f"--stages: {', '.join(unknown)} is no stage; there are {', '.join(PARTS)}")
    if not chosen:
        raise Failed(Exit.USAGE, f"--stages names nothing; there are {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in chosen)


class _StandardError:
    """Standard error as it is when something is written: loggers are cached, and whoever embeds us may replace it."""

    def write(self, text: str) -> int:
        """Write to it."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Flush it."""
        sys.stderr.flush()


def configure_logs(level: str) -> None:
    """Log to standard error: for people on a terminal, else one JSON object a line."""
    is_terminal = sys.stderr.isatty()
    last: Any = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if is_terminal
        else structlog.processors.JSONRenderer()
    )
    # Without local variables: they hold what people wrote.
    plain = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
    before = [] if is_terminal else [plain]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *before,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _StandardError())),
        cache_logger_on_first_use=True,
    )

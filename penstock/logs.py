"""How this process logs: one JSON object a line on standard error, or lines for people where it is a terminal.

Every line names the worker that wrote it. Lines about a job name its `job_id`, `trace_id` and `stage`.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO, cast

import structlog

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_fields: dict[str, Any] = {}
"""On every line of this process. No context variable: threads begin with an empty context."""


def name_process(**fields: Any) -> None:
    """Have these fields on every line from now on, whichever thread writes it."""
    _fields.update(fields)


def configure_logs(level: str) -> None:
    """Log what is at least as grave as `level`; may be called again."""
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
            _add_fields,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *before,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _StandardError())),
        cache_logger_on_first_use=True,
    )


def _add_fields(_logger: object, _name: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in _fields.items():
        line.setdefault(name, value)
    return line


class _StandardError:
    """Standard error as it is when something is written: loggers are cached, and whoever embeds us may replace it."""

    def write(self, text: str) -> int:
        """Write to it."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Flush it."""
        sys.stderr.flush()

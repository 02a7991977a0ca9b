"""Everything that can go wrong at the warehouse, as one tree, and which of it an answer of ClickHouse is.

SinkError
├── WarehouseAway      not reachable, overloaded or short of something: wait, then try the same again
│   └── WarehouseUnfit it answers, but won't work before a person does something: wait, and raise an alarm
├── RowsRefused        it understood the body and refuses it: bisect
│   └── BrokenArray    bytes that are no array of rows (found before they are sent)
├── QueryFailed        a question was wrong or took too long
├── MigrationError     the migrations on disk and in the warehouse don't fit together
└── JobAmbiguous       several tenants have a job of that id

An unknown code counts as away: waiting loses nothing, whereas bisecting would give up good rows one by one.
"""

from dataclasses import dataclass
from typing import Final


class SinkError(Exception):
    """Base of all errors of this room; the text says what was found and what to do."""


class WarehouseAway(SinkError):  # noqa: N818 -- a state of the warehouse, named as one
    """The warehouse can't take anything now; the same call may succeed later."""


class WarehouseUnfit(WarehouseAway):
    """The warehouse answers but refuses everything until a person repairs it: rights, a missing table, a full disk."""


class RowsRefused(SinkError):  # noqa: N818 -- as above
    """The warehouse read the body and refuses it; at least one row in it is at fault."""


class BrokenArray(RowsRefused):
    """Bytes that should be an Avro array of rows and are not."""


class QueryFailed(SinkError):  # noqa: N818 -- as above
    """A query was refused; `code` is ClickHouse's number (0 when it gave none)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class MigrationError(SinkError):
    """The numbered migrations have a gap, or one that was applied has changed since."""


class JobAmbiguous(SinkError):  # noqa: N818 -- as above
    """More than one tenant has a job of this id; name one of them."""

    def __init__(self, job_id: str, tenants: tuple[str, ...]) -> None:
        super().__init__(f"job {job_id!r} exists for the tenants {', '.join(map(repr, tenants))}: name one of them")
        self.tenants = tenants


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the warehouse said: ClickHouse's code, the HTTP status when there was no code, and the text."""

    code: int | None
    http_status: int | None
    text: str


REFUSED_CODES: Final = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        25,  # CANNOT_PARSE_ESCAPE_SEQUENCE
        26,  # CANNOT_PARSE_QUOTED_STRING
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        32,  # ATTEMPT_TO_READ_AFTER_EOF
        33,  # CANNOT_READ_ALL_DATA
        38,  # CANNOT_PARSE_DATE
        41,  # CANNOT_PARSE_DATETIME
        44,  # ILLEGAL_COLUMN
        53,  # TYPE_MISMATCH
        69,  # ARGUMENT_OUT_OF_BOUND
        70,  # CANNOT_CONVERT_TYPE
        72,  # CANNOT_PARSE_NUMBER
        117,  # INCORRECT_DATA
        128,  # TOO_LARGE_ARRAY_SIZE
        131,  # TOO_LARGE_STRING_SIZE
        177,  # QUERY_IS_TOO_LARGE: halving repairs it
        190,  # SIZES_OF_ARRAYS_DONT_MATCH
        321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
        349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
        407,  # DECIMAL_OVERFLOW
        469,  # VIOLATED_CONSTRAINT
        691,  # UNKNOWN_ELEMENT_OF_ENUM
    }
)
"""Codes that speak of what is in the body."""

UNFIT_CODES: Final = frozenset(
    {
        8,  # THERE_IS_NO_COLUMN
        16,  # NO_SUCH_COLUMN_IN_TABLE
        46,  # UNKNOWN_FUNCTION
        47,  # UNKNOWN_IDENTIFIER
        48,  # NOT_IMPLEMENTED
        60,  # UNKNOWN_TABLE
        62,  # SYNTAX_ERROR
        73,  # UNKNOWN_FORMAT
        81,  # UNKNOWN_DATABASE
        115,  # UNKNOWN_SETTING
        164,  # READONLY
        192,  # UNKNOWN_USER
        193,  # WRONG_PASSWORD
        194,  # REQUIRED_PASSWORD
        195,  # IP_ADDRESS_NOT_ALLOWED
        201,  # QUOTA_EXCEEDED
        243,  # NOT_ENOUGH_SPACE
        452,  # SETTING_CONSTRAINT_VIOLATION
        497,  # ACCESS_DENIED
        516,  # AUTHENTICATION_FAILED
    }
)
"""Codes that a person must look at; the rows are not at fault."""

AWAY_CODES: Final = frozenset(
    {
        3,  # UNEXPECTED_END_OF_FILE
        74,  # CANNOT_READ_FROM_FILE_DESCRIPTOR
        75,  # CANNOT_WRITE_TO_FILE_DESCRIPTOR
        159,  # TIMEOUT_EXCEEDED
        202,  # TOO_MANY_SIMULTANEOUS_QUERIES
        209,  # SOCKET_TIMEOUT
        210,  # NETWORK_ERROR
        236,  # ABORTED
        241,  # MEMORY_LIMIT_EXCEEDED
        242,  # TABLE_IS_READ_ONLY
        252,  # TOO_MANY_PARTS
        319,  # UNKNOWN_STATUS_OF_INSERT
        394,  # QUERY_WAS_CANCELLED
        439,  # CANNOT_SCHEDULE_TASK
        999,  # KEEPER_EXCEPTION
    }
)
"""Codes that pass by themselves. Listed to be read; an unlisted code is treated the same."""

OF_THE_QUERY: Final = frozenset(
    {
        159,  # TIMEOUT_EXCEEDED
        241,  # MEMORY_LIMIT_EXCEEDED
        394,  # QUERY_WAS_CANCELLED
    }
)
"""Codes that pass by themselves for an insert, but for a query say that it asks for too much."""

OF_THE_COMMAND: Final = frozenset(
    {
        8,  # THERE_IS_NO_COLUMN
        16,  # NO_SUCH_COLUMN_IN_TABLE
        46,  # UNKNOWN_FUNCTION
        47,  # UNKNOWN_IDENTIFIER
        48,  # NOT_IMPLEMENTED
        62,  # SYNTAX_ERROR
        73,  # UNKNOWN_FORMAT
        115,  # UNKNOWN_SETTING
    }
)
"""Codes that a person must look at, and that say of a statement of our own that it is wrong."""

AVRO_LIBRARY: Final = "avro::"
"""Code 1001 wraps any library's exception; with this in its text the body was no readable Avro."""


def of_insert(refusal: Refusal) -> SinkError:
    """Which error an insert that was answered with this raises.

    A code decides; without one (a proxy answered) 413 means that the body is too large, which halving it repairs.
    """
    text = refusal.text.strip()
    match refusal.code:
        case None:
            return _of_status(refusal.http_status, text)
        case 1001 if AVRO_LIBRARY in text:
            return RowsRefused(f"the body is no readable Avro: {text}")
        case code if code in REFUSED_CODES:
            return RowsRefused(f"ClickHouse refused the rows (code {code}): {text}")
        case code if code in UNFIT_CODES:
            return WarehouseUnfit(f"ClickHouse can't take rows until this is repaired (code {code}): {text}")
        case code:
            return WarehouseAway(f"ClickHouse can't take rows now (code {code}): {text}")


def of_query(refusal: Refusal) -> SinkError:
    """Which error a query that was answered with this raises."""
    text = refusal.text.strip()
    if refusal.code is None:
        return _of_status(refusal.http_status, text)
    if refusal.code in AWAY_CODES - OF_THE_QUERY:
        return WarehouseAway(f"ClickHouse can't answer now (code {refusal.code}): {text}")
    if refusal.code in {192, 193, 194, 516}:
        return WarehouseUnfit(f"ClickHouse does not let this user in (code {refusal.code}): {text}")
    return QueryFailed(refusal.code, text)


def of_command(refusal: Refusal) -> SinkError:
    """Which error a statement that changes tables raises: a full disk or a missing right is no fault of it."""
    if refusal.code in UNFIT_CODES - OF_THE_COMMAND:
        return of_insert(refusal)
    return of_query(refusal)


def _of_status(status: int | None, text: str) -> SinkError:
    if status == 413:
        return RowsRefused(f"the body is too large for a proxy before the warehouse (HTTP 413): {text}")
    if status in {400, 401, 403, 404, 405, 407}:
        return WarehouseUnfit(f"what answers at the warehouse's address refuses the call (HTTP {status}): {text}")
    return WarehouseAway(f"the warehouse is away{f' (HTTP {status})' if status else ''}: {text}")

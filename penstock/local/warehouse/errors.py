"""Everything the warehouse can refuse, as one tree, and the HTTP status that ClickHouse gives each of its error codes.

WarehouseError                an answer to one request, as ClickHouse words it
├── EngineError               the engine refused or failed
├── StatementRefusedError     the statement itself is not run here
├── BodyTooLargeError         more bytes than the limit
├── EncodingError             the body is not what its header says
├── AuthenticationError       wrong or missing user or password
└── OriginRefusedError        sent by a web page of somebody else
WarehouseStartError           the process can't start at all
└── DirectoryBusyError        another process owns the directory
"""

import re
from pathlib import Path
from typing import Final

from penstock.local.errors import StackError

UNKNOWN_CODE: Final = 1002

_NAMED_CODE: Final = re.compile(r"Code: (\d+)[.,]")
_ENGINE_VERSION: Final = re.compile(r" \(version [^()]*\)\s*$")

_STATUS_OF: Final[dict[int, int]] = {
    194: 401,  # REQUIRED_PASSWORD
    **dict.fromkeys((192, 193, 497, 512, 516), 403),
    **dict.fromkeys(
        # What was sent can't be parsed, or does not fit the types.
        (6, 8, 15, 25, 26, 27, 36, 38, 41, 44, 53, 62, 69, 71, 72, 117, 167, 168, 223, 224, 376, 427, 441, 675, 676),
        400,
    ),
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 78, 81, 109, 115, 336, 511), 404),
    159: 408,  # TIMEOUT_EXCEEDED
    381: 411,  # HTTP_LENGTH_REQUIRED
    177: 413,  # QUERY_IS_TOO_LARGE
    48: 501,  # NOT_IMPLEMENTED
    **dict.fromkeys((76, 209, 439), 503),
}


class WarehouseError(Exception):
    """Base of all answers that are errors: a ClickHouse error code, its name and a sentence."""

    code: int = UNKNOWN_CODE
    name: str = "UNKNOWN_EXCEPTION"
    query_id: str = ""
    """Of the statement, where one was under way."""

    @property
    def status(self) -> int:
        """The HTTP status for the code, as ClickHouse maps them."""
        return _STATUS_OF.get(self.code, 500)

    def text(self, version: str) -> str:
        """The body of the answer, worded as ClickHouse's clients expect it."""
        return f"Code: {self.code}. DB::Exception: {self}. ({self.name}) (version {version})\n"


class EngineError(WarehouseError):
    """The engine's own error; its text already names code and name."""

    def __init__(self, text: str) -> None:
        super().__init__(_ENGINE_VERSION.sub("", text).strip())
        found = _NAMED_CODE.search(text)
        self.code = int(found[1]) if found else UNKNOWN_CODE

    def text(self, version: str) -> str:
        """The engine's sentence with the version that it leaves out in some places."""
        return f"{self} (version {version})\n"


class StatementRefusedError(WarehouseError):
    """The statement is not run here, whoever sends it."""

    def __init__(self, code: int, name: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.name = name


class BodyTooLargeError(WarehouseError):
    """The body, as sent or once decompressed, is larger than the limit."""

    code = 177
    name = "QUERY_IS_TOO_LARGE"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The body is larger than the limit of {limit} bytes; send smaller batches, or start the warehouse with a "
            "larger --max-body"
        )


class EncodingError(WarehouseError):
    """The body is compressed in a way that is unknown here, or damaged."""

    code = 432
    name = "UNKNOWN_COMPRESSION_METHOD"


class AuthenticationError(WarehouseError):
    """The user is unknown, or the password is wrong or missing."""

    def __init__(self, user: str, *, password_given: bool) -> None:
        self.code, self.name = (516, "AUTHENTICATION_FAILED") if password_given else (194, "REQUIRED_PASSWORD")
        super().__init__(
            f"{user}: Authentication failed: password is incorrect, or there is no user with such name"
            if password_given
            else f"{user}: The warehouse asks for a password, and none was sent"
        )


class OriginRefusedError(WarehouseError):
    """The request was sent by a web page that does not belong to the warehouse."""

    code = 497
    name = "ACCESS_DENIED"


class WarehouseStartError(StackError):
    """The warehouse can't start."""


class DirectoryBusyError(WarehouseStartError):
    """Another process owns the directory."""

    def __init__(self, directory: Path, owner: str) -> None:
        super().__init__(
            f"the directory {directory} is owned by another process ({owner}); only one may own it at a time: use that "
            "one, stop it first, or choose another --data"
        )

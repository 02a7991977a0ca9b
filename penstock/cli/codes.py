"""How a command may end: its exit code, and the error of its own. Imports nothing, so that help comes at once."""

from enum import IntEnum
from typing import Final


class Exit(IntEnum):
    """What the shell gets."""

    OK = 0
    BAD = 1
    USAGE = 2
    AWAY = 3
    LATE = 4
    BUG = 70
    INTERRUPTED = 130


TABLE: Final = """\
Exit codes: 0 all is well · 1 what was asked about is not (lint found errors, unhealthy, a job not accepted, SQL
refused) · 2 the command line, a setting or a project file can't be used · 3 broker, warehouse or stack is away ·
4 no answer in time · 70 a bug in Penstock · 130 interrupted"""


class Failed(Exception):  # noqa: N818 -- the command failed; its text is for the person who typed it
    """A command's own error."""

    def __init__(self, code: Exit, text: str) -> None:
        super().__init__(text)
        self.code = code

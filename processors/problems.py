"""What is wrong in a file of a project, as a value, and the errors that carry such values.

ProcessorsError
├── ModelsError       models.toml can't be used
├── WorkflowError     a workflow's bundle does not compile
├── ReleaseRefused    a version does not come into force (processors.releases)
└── CredentialError   a provider's key is not in the environment
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """An error keeps a version from being released; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, what was found, and how to mend it. `line` counts from 1; 0 is the whole file."""

    file: str
    line: int
    field: str
    found: str
    mend: str
    level: Level = Level.ERROR

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        named = f" {self.field}" if self.field else ""
        return f"{place}{named}: {self.found}; {self.mend}"


def errors_of(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Those of the problems that keep a version from being released."""
    return tuple(problem for problem in problems if problem.level is Level.ERROR)


class ProcessorsError(Exception):
    """The base of what this room raises on purpose."""


class FilesError(ProcessorsError):
    """Files that can't be used; `problems` says where and how to mend them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class ModelsError(FilesError):
    """models.toml can't be used."""


class WorkflowError(FilesError):
    """A workflow's bundle does not compile."""


class CredentialError(ProcessorsError):
    """A provider's key is not in the environment."""

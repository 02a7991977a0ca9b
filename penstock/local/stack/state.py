"""Knows `stack.json`: what the supervisor last wrote about itself and its components."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from penstock.local.process import Identity
from penstock.local.stack.plan import Name

Phase = Literal["starting", "running", "restarting", "failed", "stopping", "stopped"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # a file of another version of Penstock may say more


class LastExit(_Frozen):
    """How a component's last run ended."""

    code: int
    """Exit code; minus the signal's number if one ended it."""
    at: float
    """Seconds since 1970."""
    log: tuple[str, ...]
    """The last lines of the log at that time."""


class ComponentState(_Frozen):
    """One component as the supervisor sees it."""

    phase: Phase
    address: str
    log: Path
    process: Identity | None = None
    started_at: float | None = None
    """Seconds since 1970, of the current run."""
    restarts: int = 0
    detail: str = ""
    last_exit: LastExit | None = None


class StackState(_Frozen):
    """The whole file."""

    supervisor: Identity
    started_at: float
    components: Mapping[Name, ComponentState]

    def processes(self) -> tuple[Identity, ...]:
        """Return the components' processes as of the last writing, in the order of stopping."""
        return tuple(state.process for state in self.components.values() if state.process)


def write(path: Path, state: StackState) -> None:
    """Replace the file in one step: a reader sees the old state or the new one."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(state.model_dump_json(indent=2) + "\n")
    temporary.replace(path)


def read(path: Path) -> StackState | None:
    """Return the last written state; None if there is none that can be read."""
    try:
        return StackState.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None

"""The state of the switches, folded from the control history: active versions and kills. A fold makes a new state."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from schemas.control import Control, ControlKind, SwitchKind


@dataclass(frozen=True, slots=True)
class ControlState:
    """What the operators have switched, up to and including the control record numbered `version` (-1: none yet)."""

    version: int = -1
    active: Mapping[str, str] = field(default_factory=dict)
    kills: frozenset[tuple[SwitchKind, str]] = frozenset()

    def killed(self, kind: SwitchKind, name: str) -> bool:
        """Whether a kill switch stops this."""
        return (kind, name) in self.kills

    def after(self, control: Control, version: int) -> "ControlState":
        """The state once this record is read; a kind that is not known here changes nothing but the version."""
        switch = (control.target, control.name)
        match control.kind:
            case ControlKind.ACTIVATE:
                return replace(self, version=version, active={**self.active, control.name: control.version})
            case ControlKind.KILL:
                return replace(self, version=version, kills=self.kills | {switch})
            case ControlKind.UNKILL:
                return replace(self, version=version, kills=self.kills - {switch})
            case ControlKind.UNKNOWN:
                return replace(self, version=version)


ReadControl: TypeAlias = Callable[[], ControlState]
"""How a processor asks for the state in force now."""

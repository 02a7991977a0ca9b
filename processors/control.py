"""The state of the switches, folded from the control history: active versions and kills. A fold makes a new state."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from processors.snapshots import Snapshots
from schemas.control import Control, ControlKind, SwitchKind


@dataclass(frozen=True, slots=True)
class ControlState:
    """What the operators have switched, up to and including the control record numbered `version` (-1: none yet).

    By workflow: the version in `active`, the record that put it in force in `activations`, who froze it in `freezes`.
    """

    version: int = -1
    active: Mapping[str, str] = field(default_factory=dict)
    activations: Mapping[str, Control] = field(default_factory=dict)
    freezes: Mapping[str, Control] = field(default_factory=dict)
    kills: frozenset[tuple[SwitchKind, str]] = frozenset()
    snapshots: Snapshots = field(default_factory=Snapshots, compare=False)
    """The newest versions of contexts: told apart from the switches, and shared by all states of one process."""

    def killed(self, kind: SwitchKind, name: str) -> bool:
        """Whether a kill switch stops this."""
        return (kind, name) in self.kills

    def after(self, control: Control, version: int) -> "ControlState":
        """The state once this record is read; a kind that is not known here changes nothing but the version."""
        switch = (control.target, control.name)
        match control.kind:
            case ControlKind.ACTIVATE:
                active = {**self.active, control.name: control.version}
                activations = {**self.activations, control.name: control}
                return replace(self, version=version, active=active, activations=activations)
            case ControlKind.KILL:
                return replace(self, version=version, kills=self.kills | {switch})
            case ControlKind.UNKILL:
                return replace(self, version=version, kills=self.kills - {switch})
            case ControlKind.FREEZE:
                return replace(self, version=version, freezes={**self.freezes, control.name: control})
            case ControlKind.UNFREEZE:
                freezes = {name: freeze for name, freeze in self.freezes.items() if name != control.name}
                return replace(self, version=version, freezes=freezes)
            case ControlKind.UNKNOWN:
                return replace(self, version=version)


ReadControl: TypeAlias = Callable[[], ControlState]
"""How a processor asks for the state in force now."""

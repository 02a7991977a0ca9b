"""Control and registry: the one ordered history of switches, and the immutable bundles that it points to."""

from datetime import datetime
from enum import StrEnum

from schemas.base import Record, json_text, sha256_hex
from schemas.job import WorkflowName


class ControlKind(StrEnum):
    """What a control record does. A worker that meets a kind it does not know leaves its state as it is."""

    UNKNOWN = "unknown"
    ACTIVATE = "activate"
    KILL = "kill"
    UNKILL = "unkill"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"


class SwitchKind(StrEnum):
    """What a kill switch stops."""

    UNKNOWN = "unknown"
    MODEL = "model"
    PROVIDER = "provider"
    WORKFLOW = "workflow"
    TENANT = "tenant"
    TOOL = "tool"
    CHECK = "check"


_SWITCHES = {
    ControlKind.ACTIVATE: "active",
    ControlKind.FREEZE: "freeze",
    ControlKind.UNFREEZE: "freeze",
}


class Control(Record):
    """One switch thrown: what, by whom, when and why.

    Of an activation, `version` names the bundle, `commit` is the git commit that it was published from, and `good` are
    the versions that were in force before and not rolled back from, the last one first: the topic is compacted, so the
    newest record must know where a rollback leads.
    """

    kind: ControlKind
    target: SwitchKind
    name: str
    version: str = ""
    who: str
    why: str
    at: datetime
    commit: str = ""
    good: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The switch that this record sets: the newest record of a key is its state."""
        switch = _SWITCHES.get(self.kind)
        return f"{switch}/{self.name}" if switch else f"kill/{self.target}/{self.name}"


class Bundle(Record):
    """A workflow version: its files by path. Immutable; named by the hash of its content."""

    workflow: WorkflowName
    files: dict[str, str]
    commit: str | None = None

    @property
    def version(self) -> str:
        """The first 16 hex digits of the sha256 of the canonical JSON of the files."""
        return sha256_hex(json_text(self.files))[:16]

    @property
    def key(self) -> str:
        """The registry's key: `workflow@version`."""
        return f"{self.workflow}@{self.version}"

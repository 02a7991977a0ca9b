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


class SwitchKind(StrEnum):
    """What a kill switch stops."""

    UNKNOWN = "unknown"
    MODEL = "model"
    PROVIDER = "provider"
    WORKFLOW = "workflow"
    TENANT = "tenant"


class Control(Record):
    """One switch thrown: what, by whom, when and why. `version` names the bundle of an activation."""

    kind: ControlKind
    target: SwitchKind
    name: str
    version: str = ""
    who: str
    why: str
    at: datetime

    @property
    def key(self) -> str:
        """The switch that this record sets: the newest record of a key is its state."""
        return f"active/{self.name}" if self.kind is ControlKind.ACTIVATE else f"kill/{self.target}/{self.name}"


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

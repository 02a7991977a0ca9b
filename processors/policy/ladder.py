"""Which rungs stand open: known here, and stopped by no kill switch."""

from processors.control import ControlState
from processors.models import Models
from processors.settings import Rung
from processors.workflow import Workflow
from schemas.control import SwitchKind
from schemas.envelope import Head


def shut(rung: Rung, models: Models, control: ControlState) -> str | None:
    """Why this rung can't be used now; nothing if it can: with its own model or with a fallback."""
    why = shut_model(rung.model, models, control)
    others = (shut_model(name, models, control) for name in rung.fallbacks)
    return None if why is None or any(one is None for one in others) else why


def shut_model(name: str, models: Models, control: ControlState) -> str | None:
    """Why this model can't be called now; nothing if it can."""
    model = models.models.get(name)
    if model is None:
        return f"model {name} is not in models.toml"
    if control.killed(SwitchKind.MODEL, name):
        return f"model {name} is killed"
    if control.killed(SwitchKind.PROVIDER, model.provider):
        return f"provider {model.provider} is killed"
    return None


def open_above(workflow: Workflow, models: Models, control: ControlState, rung: int) -> tuple[Rung, ...]:
    """The rungs above this one that stand open, in order."""
    above = workflow.settings.ladder[rung + 1 :]
    return tuple(higher for higher in above if shut(higher, models, control) is None)


def stopped(head: Head, control: ControlState) -> str | None:
    """Why no job of this workflow or tenant may run now; nothing if it may."""
    if control.killed(SwitchKind.WORKFLOW, head.workflow):
        return f"workflow {head.workflow} is killed"
    if control.killed(SwitchKind.TENANT, head.tenant):
        return f"tenant {head.tenant} is killed"
    return None

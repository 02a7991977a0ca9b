"""Which rungs stand open: known here, stopped by no kill switch, and permitted to see the job's data."""

from processors.control import ControlState
from processors.models import Models
from processors.policy.constraints import Constraint
from processors.settings import Rung, WorkflowSettings
from processors.workflow import Workflow
from schemas.control import SwitchKind
from schemas.envelope import Head
from schemas.job import DataClass


def data_class(said: DataClass | None, settings: WorkflowSettings) -> DataClass:
    """What a job's data is: personal where the job says so, or its workflow's owner."""
    personal = DataClass.PERSONAL in {said, settings.data_class}
    return DataClass.PERSONAL if personal else DataClass.GENERAL


def why_closed(rung: Rung, models: Models, control: ControlState, data: DataClass) -> tuple[Constraint, str] | None:
    """What closes this rung, and why; nothing if its own model or a fallback can be called for such data."""
    why_not = shut_model(rung.model, models, control)
    if data is DataClass.GENERAL and (why_not is None or not rung.fallbacks):  # nearly always
        return None if why_not is None else (Constraint.SWITCHES, why_not)
    names = (rung.model, *rung.fallbacks)
    permitted = [name for name in names if barred(name, models, data) is None]
    if not permitted:
        return Constraint.DATA, f"model {rung.model} is not self-hosted, and the data is personal"
    why = [shut_model(name, models, control) for name in permitted]
    return None if None in why else (Constraint.SWITCHES, str(why[0]))


def barred(name: str, models: Models, data: DataClass) -> str | None:
    """Why this model may not see such data; nothing if it may."""
    model = models.models.get(name)
    if data is not DataClass.PERSONAL or model is None or models.providers[model.provider].self_hosted:
        return None
    return f"model {name} is not self-hosted, and the data is personal"


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


def open_above(
    workflow: Workflow, models: Models, control: ControlState, rung: int, data: DataClass
) -> tuple[Rung, ...]:
    """The rungs above this one that stand open, in order."""
    above = workflow.settings.ladder[rung + 1 :]
    return tuple(higher for higher in above if why_closed(higher, models, control, data) is None)


def stopped(head: Head, control: ControlState) -> str | None:
    """Why no job of this workflow or tenant may run now; nothing if it may."""
    if control.killed(SwitchKind.WORKFLOW, head.workflow):
        return f"workflow {head.workflow} is killed"
    if control.killed(SwitchKind.TENANT, head.tenant):
        return f"tenant {head.tenant} is killed"
    return None

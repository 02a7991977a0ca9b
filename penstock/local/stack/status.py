"""Says how the stack is: what the supervisor wrote, what the processes are, and what each component answers now."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from penstock.local.process import alive
from penstock.local.stack import health, locks, logs, state
from penstock.local.stack.plan import NAMES, Component, Name, StackPlan
from penstock.local.stack.runs import describe_exit
from penstock.settings import Settings


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """One component."""

    state: str
    """starting, running, unhealthy, restarting, failed, stopping, stopped, orphaned (no supervisor), external."""
    address: str
    pid: int | None
    restarts: int
    detail: str
    """What is wrong, as a sentence; empty if nothing is."""
    log: str
    last_exit: dict[str, Any] | None = None
    """Exit code, time and last log lines of the run before this one."""

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong with it, as far as this machine can tell."""
        return self.state in {"running", "external"}


@dataclass(frozen=True, slots=True)
class StackStatus:
    """The whole stack."""

    broker: str
    warehouse: str
    model_server: str
    supervisor: int | None
    components: Mapping[Name, ComponentStatus]

    @property
    def healthy(self) -> bool:
        """Whether every component is."""
        return all(component.healthy for component in self.components.values())

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, one sentence for each component that is not healthy."""
        return tuple(component.detail for component in self.components.values() if not component.healthy)

    def to_json(self) -> dict[str, Any]:
        """Return the status with stable keys, ready for JSON."""
        return {
            "broker": self.broker,
            "warehouse": self.warehouse,
            "model_server": self.model_server,
            "healthy": self.healthy,
            "supervisor": self.supervisor,
            "components": {name: asdict(component) for name, component in self.components.items()},
        }


def status(settings: Settings) -> StackStatus:
    """Look at the stack of a project now. Takes two seconds at most, much less if nothing hangs."""
    return status_of(StackPlan.of(settings))


def status_of(plan: StackPlan) -> StackStatus:
    """Look at the stack of a plan now; a running stack's own addresses win over those of the plan."""
    supervisor = locks.holder(plan.lock_path)
    known = state.read(plan.state_path)
    with ThreadPoolExecutor(len(NAMES)) as pool:
        found = pool.map(
            lambda component: _look(component, known, supervised=supervisor is not None), plan.components()
        )
        components = {component.name: each for component, each in zip(plan.components(), found, strict=True)}
    for name, address in plan.external.items():
        components[name] = ComponentStatus("external", address, None, 0, "", "")
    return StackStatus(
        broker=components["broker"].address,
        warehouse=components["warehouse"].address,
        model_server=components["model_server"].address,
        supervisor=supervisor,
        components={name: components[name] for name in reversed(NAMES)},
    )


def _look(component: Component, known: state.StackState | None, *, supervised: bool) -> ComponentStatus:
    now = known.components.get(component.name) if known else None
    if now is None:
        return _absent(component, supervised=supervised)
    phase, detail = str(now.phase), now.detail
    if not supervised:
        phase, detail = _unsupervised(component, now)
    elif phase == "running" and (wrong := health.problem(component)):
        phase, detail = "unhealthy", wrong
    elif phase == "starting" and now.last_exit:
        detail = f"the {component.title} is starting again; its last run ended with {describe_exit(now.last_exit.code)}"
    elif phase in {"starting", "stopping"}:
        detail = f"the {component.title} is {phase}"
    if detail and phase not in {"unhealthy", "orphaned"}:
        detail = f"{detail}; see {logs.display(now.log)}"
    return ComponentStatus(
        state=phase,
        address=now.address,
        pid=now.process.pid if now.process and alive(now.process) else None,
        restarts=now.restarts,
        detail=detail,
        log=str(now.log),
        last_exit=now.last_exit.model_dump(mode="json") if now.last_exit else None,
    )


def _absent(component: Component, *, supervised: bool) -> ComponentStatus:
    does = "is about to start" if supervised else "is not running; start it with `penstock up`"
    phase = "starting" if supervised else "stopped"
    return ComponentStatus(phase, component.address, None, 0, f"the {component.title} {does}", str(component.log))


def _unsupervised(component: Component, now: state.ComponentState) -> tuple[str, str]:
    if alive(now.process):
        return "orphaned", f"the {component.title} runs without its supervisor; `penstock up` starts both anew"
    return "stopped", f"the {component.title} is not running and its supervisor is gone; start them with `penstock up`"

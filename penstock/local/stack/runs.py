"""Runs one component: starts it, notices when it is ready or dead, starts it again or gives up. Used by the supervisor.

One step never waits for the component; only its preparation on a first start takes time.
"""

import signal
import time
from collections import deque

from penstock.local.errors import StackError
from penstock.local.process import Child
from penstock.local.stack import health, logs
from penstock.local.stack.plan import Component
from penstock.local.stack.state import ComponentState, LastExit, Phase
from penstock.restarts import LIMIT, GiveUp, RestartAfter, decide

_PROBE_TIMEOUT_S = 0.3


def start(component: Component) -> Child:
    """Start a component's process, its directories and files prepared.

    Raises:
        StackError: the preparation failed.
        OSError: the program can't be started.
    """
    logs.rotate(component.log)
    component.before_start()
    return Child(component.command(), directory=component.data, log=component.log)


def ready(component: Component, child: Child) -> bool:
    """Whether this run serves: it has said so (where it does) and answers."""
    if component.ready_text is not None and not child.said(component.ready_text):
        return False
    return health.problem(component, _PROBE_TIMEOUT_S) is None


class Run:
    """One component under supervision."""

    def __init__(self, component: Component) -> None:
        self.component = component
        self._child: Child | None = None
        self._phase: Phase = "stopped"
        self._detail = ""
        self._restarts = 0
        self._deaths: deque[float] = deque(maxlen=LIMIT)
        self._due = 0.0
        self._last_exit: LastExit | None = None

    @property
    def state(self) -> ComponentState:
        """What to tell others about it."""
        return ComponentState(
            phase=self._phase,
            address=self.component.address,
            log=self.component.log,
            process=self._child.identity if self._child else None,
            started_at=self._child.started_at if self._child else None,
            restarts=self._restarts,
            detail=self._detail,
            last_exit=self._last_exit,
        )

    def start(self) -> None:
        """Start it now; a failure to do so counts as a death."""
        try:
            self._child = start(self.component)
        except (StackError, OSError) as error:
            self._die(None, f"the {self.component.title} could not be started: {error}")
        else:
            self._phase, self._detail = "starting", ""

    def step(self) -> None:
        """Look at it once and do what is due."""
        if self._phase in {"starting", "running"} and self._child is not None:
            code = self._child.exit_code()
            if code is not None:
                self._die(code, f"the {self.component.title} ended with {describe_exit(code)}")
            elif self._phase == "starting" and ready(self.component, self._child):
                self._phase = "running"
        elif self._phase == "restarting" and time.monotonic() >= self._due:
            self._restarts += 1
            self.start()

    def try_again(self) -> None:
        """Forget that it was given up."""
        if self._phase == "failed":
            self._deaths.clear()
            self._restarts += 1
            self.start()

    def ask_to_stop(self) -> None:
        """Send it the polite signal, without waiting."""
        self._phase = "stopping"
        if self._child is not None:
            self._child.signal(signal.SIGTERM)
            self._child.signal(signal.SIGCONT)

    def stop(self) -> None:
        """Wait until it has ended; by force after its limit."""
        if self._child is not None:
            self._child.stop(self.component.stop_limit_s)
        self._child, self._phase = None, "stopped"

    def _die(self, code: int | None, what: str) -> None:
        now = time.monotonic()
        self._deaths.append(now)
        self._child = None
        said = logs.tail(self.component.log)
        self._last_exit = LastExit(code=-1 if code is None else code, at=time.time(), log=said)
        match decide(self._deaths, now):
            case RestartAfter(seconds):
                self._phase, self._due = "restarting", now + seconds
                self._detail = f"{what}; starting it again"
            case GiveUp(deaths):
                self._phase = "failed"
                self._detail = (
                    f"{what}, {deaths} times within a minute: given up. See {logs.display(self.component.log)}"
                )


def describe_exit(code: int) -> str:
    """Say what an exit code means."""
    if code >= 0:
        return f"exit code {code}"
    hint = " (out of memory?)" if code == -signal.SIGKILL else ""
    return f"signal {signal.Signals(-code).name}{hint}"

"""The process that `penstock up` leaves behind: `python -m penstock.local.stack.supervisor`, the plan on its input.

SIGTERM or SIGINT end the stack in order; SIGHUP tries again what was given up. What it knows is in `stack.json`.
"""

import os
import signal
import sys
import time
from types import FrameType
from typing import Final

from penstock.local.errors import StackBusyError
from penstock.local.process import Identity, identify
from penstock.local.stack import locks, logs, state
from penstock.local.stack.plan import StackPlan
from penstock.local.stack.runs import Run

_STEP_S: Final = 0.1
_LOGS_EVERY_S: Final = 30.0
_LOCK_WAIT_S: Final = 3.0


class Supervisor:
    """Keeps the components of a plan running until it is told to stop."""

    def __init__(self, plan: StackPlan) -> None:
        self._plan = plan
        self._runs = tuple(Run(component) for component in plan.components())
        self._me = identify(os.getpid()) or Identity(os.getpid(), time.time())
        self._started_at = time.time()
        self._written: state.StackState | None = None
        self._logs_due = 0.0
        self._stopping = False
        self._try_again = False

    def run(self) -> None:
        """Start everything, watch it, and return once everything has ended."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note)
        for run in self._runs:
            if not self._stopping:
                run.start()
                self._write()
        while not self._stopping:
            self._step()
            time.sleep(_STEP_S)
        self._stop()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._try_again = True
        else:
            self._stopping = True

    def _step(self) -> None:
        again, self._try_again = self._try_again, False
        for run in self._runs:
            if again:
                run.try_again()
            run.step()
        self._write()
        if time.monotonic() >= self._logs_due:
            self._logs_due = time.monotonic() + _LOGS_EVERY_S
            for path in self._plan.logs.glob("*.log"):
                logs.rotate(path)

    def _stop(self) -> None:
        """End all but the last at the same time, then the last: the broker, which the others may still write to."""
        *others, last = self._runs
        for group in (others, [last]):
            for run in group:
                run.ask_to_stop()
            self._write()
            for run in group:
                run.stop()
        self._plan.state_path.unlink(missing_ok=True)

    def _write(self) -> None:
        components = {run.component.name: run.state for run in self._runs}
        now = state.StackState(supervisor=self._me, started_at=self._started_at, components=components)
        if now != self._written:
            state.write(self._plan.state_path, now)
            self._written = now


def main() -> int:
    """Read the plan, take the lock, supervise."""
    plan = StackPlan.model_validate_json(sys.stdin.buffer.read())
    try:
        with locks.hold(plan.lock_path, wait_s=_LOCK_WAIT_S):
            Supervisor(plan).run()
    except StackBusyError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

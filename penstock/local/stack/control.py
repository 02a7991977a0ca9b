"""Starts and stops the stack of a project: `up` and `down`, safe to call twice, at once, and after a crash."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final

import psutil

from penstock.local.errors import StackStartError, StackStopError
from penstock.local.ports import require_free
from penstock.local.process import Identity, identify, stop_all
from penstock.local.stack import locks, logs, memory
from penstock.local.stack.plan import StackPlan
from penstock.local.stack.status import StackStatus, status_of
from penstock.settings import Settings

Progress = Callable[[str], None]

_STEP_S: Final = 0.1
_STOP_LIMIT_S: Final = 60.0
_ORPHAN_LIMIT_S: Final = 20.0
_BUSY_LIMIT_S: Final = 600.0
_NOTICE_LIMIT_S: Final = 3.0


def up(settings: Settings, *, progress: Progress | None = None, wait_s: float = 300.0) -> StackStatus:
    """Start the stack and return once all of it is healthy; a stack that runs already is left as it is.

    A start that fails or is interrupted leaves nothing behind.

    Args:
        settings: The project's settings.
        progress: Gets a sentence for each step.
        wait_s: How long all of it may take to become healthy, seconds; the first start trains the local models.

    Raises:
        JarsUnavailableError: the broker can't be fetched.
        LocalExtraMissingError: the `local` extra is not installed.
        MemoryTooLowError: the machine can't hold the stack.
        PortTakenError: another process has one of the ports.
        StackBusyError: another `penstock up` or `penstock down` does not end.
        StackStartError: a component gave up, or is not healthy after `wait_s` seconds.
    """
    say = progress or _silent
    plan = StackPlan.of(settings)
    with locks.hold(plan.command_lock_path, wait_s=_BUSY_LIMIT_S, waiting=lambda pid: say(_waiting(pid))):
        running = locks.holder(plan.lock_path)
        if running is not None:
            say(f"the stack is already running (supervisor: process {running})")
            _try_again(plan, running)
            return _await_healthy(plan, None, say, wait_s)
        _clean_up(plan, say)
        require_free({component.port_setting: component.port for component in plan.components()})
        if warning := memory.check(plan.memory_needed_mb):
            say(warning)
        plan.prepare(say)
        return _start(plan, say, wait_s) if plan.ports else status_of(plan)


def down(settings: Settings, *, progress: Progress | None = None) -> bool:
    """Stop the stack, the broker last, and whatever a crash left of it; return whether there was anything to stop.

    Raises:
        StackBusyError: another `penstock up` or `penstock down` does not end.
        StackStopError: a process is still there after SIGKILL.
    """
    say = progress or _silent
    plan = StackPlan.of(settings)
    if not plan.data_dir.exists():
        return False
    with locks.hold(plan.command_lock_path, wait_s=_BUSY_LIMIT_S, waiting=lambda pid: say(_waiting(pid))):
        return _stop(plan, say)


def orphans(plan: StackPlan) -> tuple[Identity, ...]:
    """Find the components' processes on the machine by their command lines, whoever started them."""
    marks = [component.marks for component in plan.components()]
    found = []
    for process in psutil.process_iter(["cmdline"]):
        arguments = process.info["cmdline"] or ()
        if any(all(mark in arguments for mark in pair) for pair in marks) and (identity := identify(process.pid)):
            found.append(identity)
    return tuple(found)


def _start(plan: StackPlan, say: Progress, wait_s: float) -> StackStatus:
    say("starting " + ", ".join(f"{component.title} (port {component.port})" for component in plan.components()))
    supervisor = _spawn(plan)
    try:
        return _await_healthy(plan, supervisor, say, wait_s)
    except BaseException:
        _stop(plan, say)
        raise
    finally:
        supervisor.returncode = 0  # it outlives this process by design: no warning that it was left behind


def _spawn(plan: StackPlan) -> subprocess.Popen[bytes]:
    log = plan.logs / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        supervisor = subprocess.Popen(
            (sys.executable, "-m", "penstock.local.stack.supervisor"),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=plan.data_dir,
            start_new_session=True,
        )
    assert supervisor.stdin is not None
    with contextlib.suppress(BrokenPipeError), supervisor.stdin as pipe:  # its log says why it died
        pipe.write(plan.model_dump_json().encode())
    return supervisor


def _await_healthy(
    plan: StackPlan, supervisor: subprocess.Popen[bytes] | None, say: Progress, wait_s: float
) -> StackStatus:
    began = time.monotonic()
    told: set[str] = set()
    while True:
        now = status_of(plan)
        seconds = time.monotonic() - began
        for name, component in now.components.items():
            if component.state == "running" and name not in told:
                told.add(name)
                say(f"{name.replace('_', ' ')} is ready at {component.address} ({seconds:.1f} s)")
        if now.healthy and now.supervisor is not None:
            return now
        if wrong := _hopeless(plan, now, supervisor):
            raise StackStartError(wrong)
        if seconds > wait_s:
            raise StackStartError(f"not healthy after {wait_s:g} s: {'; '.join(now.problems)}")
        time.sleep(_STEP_S)


def _hopeless(plan: StackPlan, now: StackStatus, supervisor: subprocess.Popen[bytes] | None) -> str | None:
    """Return why waiting any longer is no use, with the last lines of the log that says more; None if it is."""
    for component in now.components.values():
        if component.state == "failed":
            said = component.last_exit["log"] if component.last_exit else ()
            return "\n  ".join([component.detail, *said])
    gone = supervisor.poll() is not None if supervisor else now.supervisor is None
    if gone:
        log = plan.logs / "supervisor.log"
        return "\n  ".join([f"the supervisor ended; see {logs.display(log)}", *logs.tail(log)])
    return None


def _try_again(plan: StackPlan, supervisor: int) -> None:
    """Let a running supervisor start anew what it had given up, and wait until it does."""
    if supervisor and any(component.state == "failed" for component in status_of(plan).components.values()):
        os.kill(supervisor, signal.SIGHUP)
        _wait_until(
            lambda: all(component.state != "failed" for component in status_of(plan).components.values()),
            _NOTICE_LIMIT_S,
        )


def _clean_up(plan: StackPlan, say: Progress) -> bool:
    """Stop what a dead supervisor left running and remove what it wrote; say and return whether there was any."""
    left = orphans(plan)
    if left or plan.state_path.exists():
        say(
            "the last supervisor ended without stopping the stack; cleaning up"
            + "".join(f", process {p.pid}" for p in left)
        )
        stop_all(left, _ORPHAN_LIMIT_S)
        plan.state_path.unlink(missing_ok=True)
        return True
    return False


def _stop(plan: StackPlan, say: Progress) -> bool:
    supervisor = locks.holder(plan.lock_path)
    if supervisor is None:
        return _clean_up(plan, say)
    say("stopping the stack")
    _end_supervisor(plan, supervisor, signal.SIGTERM, _STOP_LIMIT_S)
    _end_supervisor(plan, supervisor, signal.SIGKILL, _NOTICE_LIMIT_S)
    if locks.holder(plan.lock_path) is not None:
        raise StackStopError(f"the supervisor (process {supervisor or '?'}) still holds {plan.lock_path} after SIGKILL")
    _clean_up(plan, say)
    return True


def _end_supervisor(plan: StackPlan, supervisor: int, number: signal.Signals, limit_s: float) -> None:
    if supervisor and locks.holder(plan.lock_path) is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(supervisor, number)
            os.kill(supervisor, signal.SIGCONT)  # a stopped process can't end
        _wait_until(lambda: locks.holder(plan.lock_path) is None, limit_s)


def _wait_until(condition: Callable[[], bool], limit_s: float) -> None:
    until = time.monotonic() + limit_s
    while not condition() and time.monotonic() < until:
        time.sleep(_STEP_S)


def _silent(_sentence: str) -> None:
    """Nobody wants to hear it."""


def _waiting(pid: int | None) -> str:
    return f"another `penstock up` or `penstock down` (process {pid or '?'}) is at work; waiting for it"

"""The stack as a part of this process's life: for tests and benchmarks, which kill, stop and freeze its components."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from penstock.local import jars
from penstock.local.errors import StackStartError
from penstock.local.ports import free_ports
from penstock.local.process import Child, Identity
from penstock.local.stack import health, logs
from penstock.local.stack.plan import NAMES, Name, StackPlan
from penstock.local.stack.runs import describe_exit, ready, start
from penstock.settings import Settings

_STEP_S: Final = 0.05
_READY_LIMIT_S: Final = 180.0


class EmbeddedStack:
    """Components on ports of their own that live no longer than this process. Nothing restarts what dies."""

    def __init__(self, plan: StackPlan) -> None:
        self._plan = plan
        self._components = {component.name: component for component in plan.components()}
        self._children: dict[Name, Child] = {}
        self._leash = _Leash()

    @property
    def broker(self) -> str:
        """The broker's host:port."""
        return self._components["broker"].address

    @property
    def warehouse_url(self) -> str:
        """The warehouse's address."""
        return self._components["warehouse"].address

    @property
    def model_server_url(self) -> str:
        """The model server's address."""
        return self._components["model_server"].address

    def settings(self, project: Path, **overrides: Any) -> Settings:
        """Return settings of a project that lead to this stack."""
        ports = {f"{name}_port": port for name, port in self._plan.ports.items()}
        return Settings(project=project, **{"data_dir": self._plan.data_dir, **ports, **overrides})

    def pid(self, name: Name) -> int:
        """Return a running component's process."""
        return self._children[name].pid

    def log(self, name: Name, lines: int = 100) -> str:
        """Return the end of a component's log."""
        return "\n".join(logs.tail(self._components[name].log, lines))

    def problem(self, name: Name) -> str | None:
        """Say what is wrong with a component now; None if it answers."""
        return health.problem(self._components[name])

    def start(self, *names: Name, wait_s: float = _READY_LIMIT_S) -> None:
        """Start components that don't run (default: all) at the same time, and wait until they serve.

        Raises:
            StackError: one can't be prepared, dies, or does not serve after `wait_s` seconds.
        """
        self._plan.prepare()
        for name in names or tuple(self._components):
            if name not in self._children:
                self._children[name] = start(self._components[name])
                self._leash.add(self._children[name].identity)
        self.wait_ready(*names, wait_s=wait_s)

    def wait_ready(self, *names: Name, wait_s: float = _READY_LIMIT_S) -> None:
        """Wait until components (default: all) serve.

        Raises:
            StackStartError: one dies, or does not serve after `wait_s` seconds.
        """
        until = time.monotonic() + wait_s
        for name in names or tuple(self._components):
            while not ready(self._components[name], self._children[name]):
                code = self._children[name].exit_code()
                if code is not None:
                    del self._children[name]
                    raise StackStartError(f"the {name} ended with {describe_exit(code)}:\n{self.log(name)}")
                if time.monotonic() > until:
                    raise StackStartError(
                        f"{self.problem(name) or f'the {name} is not ready'} ({wait_s:g} s)\n{self.log(name)}"
                    )
                time.sleep(_STEP_S)

    def stop(self, name: Name) -> int:
        """End a component politely; return its exit code."""
        return self._children.pop(name).stop(self._components[name].stop_limit_s)

    def kill(self, name: Name) -> None:
        """End a component by SIGKILL."""
        self._children.pop(name).kill()

    def restart(self, name: Name, *, kill: bool = False, wait_s: float = _READY_LIMIT_S) -> None:
        """End a component, politely or by SIGKILL, start it again on the same data and port, wait until it serves."""
        if name in self._children:
            self.kill(name) if kill else self.stop(name)
        self.start(name, wait_s=wait_s)

    @contextlib.contextmanager
    def paused(self, name: Name) -> Iterator[None]:
        """Freeze a component (SIGSTOP) for as long as the block runs: it keeps its connections and answers nothing."""
        self.pause(name)
        try:
            yield
        finally:
            self.resume(name)

    def pause(self, name: Name) -> None:
        """Freeze a component."""
        self._children[name].signal(signal.SIGSTOP)

    def resume(self, name: Name) -> None:
        """Let a frozen component go on; nothing if it is gone."""
        if name in self._children:
            self._children[name].signal(signal.SIGCONT)

    def close(self) -> None:
        """End everything, the broker last."""
        try:
            for name in NAMES:
                if name in self._children:
                    self.stop(name)
        finally:
            self._leash.close()


class _Leash:
    """A process that outlives this one by a moment and ends what this one could not; see the module `leash`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            (sys.executable, "-m", "penstock.local.stack.leash"), stdin=subprocess.PIPE, start_new_session=True
        )

    def add(self, identity: Identity) -> None:
        """End this process too."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{identity.pid} {identity.created}\n".encode())
        self._process.stdin.flush()

    def close(self) -> None:
        """End everything that was added and still runs, now."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@contextlib.contextmanager
def embedded(  # noqa: PLR0913 -- all but two are keywords with defaults
    data_dir: Path,
    components: Sequence[Name] = ("broker", "warehouse", "model_server"),
    *,
    ports: Mapping[Name, int] | None = None,
    heap_mb: int = 384,
    broker_properties: Mapping[str, str] | None = None,
    broker_admin: tuple[str, str] | None = None,
    model_server_args: Sequence[str] = (),
    wait_s: float = _READY_LIMIT_S,
) -> Iterator[EmbeddedStack]:
    """Run a stack for as long as the block runs.

    Args:
        data_dir: Folder for data and logs; may hold those of an earlier run.
        components: Which components to run.
        ports: Port by component; default: free ones.
        heap_mb: The broker's heap, MiB.
        broker_properties: Server properties of the broker over ours; the clients' listener is called CLIENTS.
        broker_admin: Name and password of the broker's administrator: then clients must authenticate (SCRAM-SHA-512),
            and have a right to what they do.
        model_server_args: Arguments that the model server gets besides port and folder, such as faults.
        wait_s: How long all of it may take to serve, seconds.

    Raises:
        StackError: a component can't be prepared, dies, or does not serve in time.
    """
    chosen = dict(ports or zip(components, free_ports(len(components)), strict=True))
    stack = EmbeddedStack(
        StackPlan(
            data_dir=data_dir.resolve(),
            ports=chosen,
            heap_mb=heap_mb,
            broker_properties=broker_properties or {},
            cache=jars.default_cache(),
            model_server_args=tuple(model_server_args),
            broker_admin=broker_admin,
        )
    )
    try:
        stack.start(wait_s=wait_s)
        yield stack
    finally:
        stack.close()

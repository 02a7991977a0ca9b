"""Knows what the stack is made of: three components, each with its address, its files and its command line."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from pydantic import BaseModel, ConfigDict

from penstock.local import broker, jars, lapse, warmup
from penstock.local.ports import HOST
from penstock.settings import Settings

Name = Literal["model_server", "warehouse", "broker"]
NAMES: Final[tuple[Name, ...]] = get_args(Name)
"""In the order of starting and of stopping: the broker last, so that nobody writes to it while it goes."""

# What the other two need beside the broker's heap: measured resident sizes, with the broker's own overhead.
_MEMORY_BESIDE_HEAP_MB: Final = 820


@dataclass(frozen=True, slots=True)
class Component:
    """One process of the stack, as the plan wants it."""

    name: Name
    address: str
    port: int
    data: Path
    log: Path
    health_path: str | None
    ready_text: str | None
    stop_limit_s: float
    marks: tuple[str, str]
    """Two arguments that, together, only this component's command line holds."""
    command: Callable[[], tuple[str, ...]]
    before_start: Callable[[], None]
    tls: bool = False
    """Whether it must be asked through TLS."""

    @property
    def title(self) -> str:
        """The name in a sentence."""
        return self.name.replace("_", " ")

    @property
    def port_setting(self) -> str:
        """The setting that changes its port."""
        return f"{self.name}_port"


class StackPlan(BaseModel):
    """Everything the supervisor must know; travels to it as JSON on its standard input (it may hold credentials)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Path
    ports: Mapping[Name, int]
    external: Mapping[Name, str] = {}
    heap_mb: int = 384
    broker_properties: Mapping[str, str] = {}
    cache: Path
    repository: str = jars.MAVEN_CENTRAL
    model_server_args: tuple[str, ...] = ()
    broker_admin: tuple[str, str] | None = None

    @classmethod
    def of(cls, settings: Settings) -> "StackPlan":
        """Plan what the settings ask for: a component whose address was set to another one is not ours to start."""
        addresses: dict[Name, str] = {
            "broker": settings.broker,
            "warehouse": settings.warehouse_url,
            "model_server": settings.model_server_url,
        }
        ports: dict[Name, int] = {name: getattr(settings, f"{name}_port") for name in NAMES}
        ours = {
            name: port for name, port in ports.items() if addresses[name].removeprefix("http://") == f"{HOST}:{port}"
        }
        return cls(
            data_dir=settings.data_dir,
            ports=ours,
            external={name: address for name, address in addresses.items() if name not in ours},
            heap_mb=settings.broker_heap_mb,
            broker_properties={key: value.get_secret_value() for key, value in settings.broker_properties.items()},
            model_server_args=settings.model_server_args,
            cache=settings.cache_dir or jars.default_cache(),
            repository=settings.maven_repository or jars.MAVEN_CENTRAL,
        )

    @property
    def state_path(self) -> Path:
        """What the supervisor last wrote about the stack."""
        return self.data_dir / "stack.json"

    @property
    def lock_path(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.data_dir / "stack.lock"

    @property
    def command_lock_path(self) -> Path:
        """Held by an `up` or `down` at work."""
        return self.data_dir / "command.lock"

    @property
    def logs(self) -> Path:
        """Folder of the log files."""
        return self.data_dir / "logs"

    @property
    def memory_needed_mb(self) -> int:
        """Roughly what the components need, MiB."""
        return self.heap_mb + _MEMORY_BESIDE_HEAP_MB

    @property
    def broker(self) -> broker.Broker:
        """The broker's own plan."""
        return broker.Broker(
            data=self.data_dir / "broker",
            port=self.ports["broker"],
            heap_mb=self.heap_mb,
            properties=self.broker_properties,
            cache=self.cache,
            repository=self.repository,
            admin=self.broker_admin,
        )

    def components(self) -> tuple[Component, ...]:
        """Return the components to run, in the order of NAMES."""
        return tuple(self._component(name) for name in NAMES if name in self.ports)

    def prepare(self, progress: Callable[[str], None] | None = None) -> None:
        """Get what every start needs and only the first has to wait for.

        Raises:
            JarsUnavailableError: the broker can't be fetched.
            StackError: the broker does not run here at all.
        """
        if "broker" in self.ports:
            jars.fetch(self.cache, repository=self.repository, progress=progress)
            warmup.ensure(self.broker, progress=progress)

    def _prepare_broker(self) -> None:
        plan = self.broker
        if lapse.has_run(plan):
            lapse.let_lapse(plan)
        broker.prepare(plan)

    def _component(self, name: Name) -> Component:
        port = self.ports[name]
        is_broker = name == "broker"
        data = self.data_dir / name
        more = self.model_server_args if name == "model_server" else ()
        return Component(
            name=name,
            address=f"{HOST}:{port}" if is_broker else f"http://{HOST}:{port}",
            port=port,
            data=data,
            log=self.logs / f"{name}.log",
            health_path={"warehouse": "/ping", "model_server": "/health"}.get(name),
            ready_text=broker.READY if is_broker else None,
            stop_limit_s=30.0 if is_broker else 15.0,
            marks=self.broker.main if is_broker else (f"penstock.local.{name}", str(data)),
            command=(lambda: broker.command(self.broker)) if is_broker else (lambda: _module(name, port, data) + more),
            before_start=self._prepare_broker if is_broker else _nothing,
            tls=is_broker and self.broker.tls,
        )


def _module(name: str, port: int, data: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", f"penstock.local.{name}", "--port", str(port), "--data", str(data))


def _nothing() -> None:
    """A component that needs no preparation."""

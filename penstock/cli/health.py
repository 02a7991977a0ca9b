"""How the broker, the warehouse, the model server and the stages are, asked now. Nothing here prints."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from penstock import lines
from penstock.cli.session import nobody_listens, require_broker, require_warehouse
from penstock.compose import sources
from penstock.settings import Settings
from sinks.errors import SinkError, WarehouseAway
from streams.errors import StreamsError
from streams.groups import GROUPS, of_sources
from streams.kafka.lags import behind, lags
from streams.kafka.sink_notes import pauses

COMPONENTS: Final = ("broker", "warehouse", "model_server")
NEEDS_EXTRA: Final = "psutil"


@dataclass(frozen=True, slots=True)
class Component:
    """One thing that the pipeline needs. `detail` says what is wrong; it is empty if nothing is."""

    state: str
    address: str
    detail: str = ""
    pid: int | None = None
    restarts: int = 0
    log: str = ""
    last_exit: Mapping[str, Any] | None = None

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.state in {"running", "external"}


@dataclass(frozen=True, slots=True)
class Health:
    """The whole of it. `lag` is records not finished yet, by stage; None when the broker can't be asked."""

    components: Mapping[str, Component]
    lag: Mapping[str, int] | None
    lag_problem: str = ""
    paused: tuple[str, ...] = ()
    """Why sinks store nothing, a sentence for each reason."""

    @property
    def healthy(self) -> bool:
        """Whether every component is, the broker could be asked, and no sink waits."""
        return not self.problems

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, one sentence each."""
        wrong = [part.detail or f"{name}: {part.state}" for name, part in self.components.items() if not part.healthy]
        return (*(tuple(wrong) or ((self.lag_problem,) if self.lag_problem else ())), *self.paused)

    def to_json(self) -> dict[str, Any]:
        """With stable keys."""
        return {
            **{name: self.components[name].address for name in COMPONENTS},
            "healthy": self.healthy,
            "problems": list(self.problems),
            "components": {name: asdict(part) for name, part in self.components.items()},
            "lag": self.lag,
        }


def look(settings: Settings) -> Health:
    """Look at everything now; some seconds if something hangs."""
    components = {
        name: part if part.state != "external" else _probe(settings, name, part)
        for name, part in _components(settings).items()
    }
    if not components["broker"].healthy:
        return Health(components, None)
    try:
        link = lines.connection(settings)
        waiting = lags(link, (*of_sources(sources(settings)), *GROUPS))
        return Health(components, behind(waiting), paused=tuple(map(str, pauses(link))))
    except StreamsError as error:
        return Health(components, None, str(error))


def _components(settings: Settings) -> dict[str, Component]:
    """What the embedded stack's supervisor says; without the local extra everything is external."""
    try:
        from penstock.local.stack import status  # noqa: PLC0415 -- the local extra may be missing
    except ModuleNotFoundError as error:
        if error.name != NEEDS_EXTRA:
            raise
        addresses = (settings.broker, settings.warehouse_url, settings.model_server_url)
        return {name: Component("external", at) for name, at in zip(COMPONENTS, addresses, strict=True)}
    found = status(settings).components
    return {
        name: Component(part.state, part.address, part.detail, part.pid, part.restarts, part.log, part.last_exit)
        for name, part in ((name, found[name]) for name in found)
    }


def _probe(settings: Settings, name: str, part: Component) -> Component:
    """An external component, asked whether it answers."""
    probes: dict[str, Callable[[Settings], None]] = {
        "broker": lambda settings: require_broker(settings.broker),
        "warehouse": _ask_warehouse,
        "model_server": _ask_model_server,
    }
    try:
        probes[name](settings)
    except (StreamsError, SinkError, OSError) as error:
        return Component("unreachable", part.address, f"{name.replace('_', ' ')} at {part.address}: {error}")
    return part


def _ask_warehouse(settings: Settings) -> None:
    require_warehouse(settings.warehouse_url)
    warehouse = lines.warehouse(settings)
    try:
        warehouse.ping()
    except WarehouseAway as error:
        raise WarehouseAway(str(error).splitlines()[0]) from error
    finally:
        warehouse.close()


def _ask_model_server(settings: Settings) -> None:
    """Whether something listens: a provider need not have a page that says how it is."""
    if (wrong := nobody_listens(settings.model_server_url)) is not None:
        raise ConnectionError(wrong)

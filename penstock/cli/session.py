"""What every command starts from: the project's settings, and lines to broker and warehouse that fail fast."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

import typer

if TYPE_CHECKING:
    from penstock.settings import Settings
    from sinks.clickhouse import ClickHouse
    from streams.kafka.connection import Connection

REACH_S: Final = 2.0


@dataclass
class Session:
    """One run of the command line."""

    project: Path | None = None
    debug: bool = False

    @cached_property
    def settings(self) -> "Settings":
        """The project's settings.

        Raises:
            SettingsError: a setting is wrong.
        """
        from penstock.settings import load_settings  # noqa: PLC0415 -- no command's help should wait for it

        return load_settings(self.project)

    def connection(self) -> "Connection":
        """How to reach the broker, which something answers for.

        Raises:
            BrokerAway: nothing listens at its address.
        """
        from penstock import lines  # noqa: PLC0415 -- as above

        require_broker(self.settings.broker)
        return lines.connection(self.settings)

    @contextlib.contextmanager
    def warehouse(self) -> "Iterator[ClickHouse]":
        """The warehouse, which something answers for.

        Raises:
            WarehouseAway: nothing listens at its address.
        """
        from penstock import lines  # noqa: PLC0415 -- as above

        require_warehouse(self.settings.warehouse_url)
        warehouse = lines.warehouse(self.settings)
        try:
            yield warehouse
        finally:
            warehouse.close()


def session_of(context: typer.Context) -> Session:
    """The session of a command."""
    return cast("Session", context.obj)


def require_broker(servers: str) -> None:
    """Ask in two seconds what Kafka's client would find out in fifteen: whether any of the servers listens.

    Raises:
        BrokerAway: none does.
    """
    from streams.errors import BrokerAway  # noqa: PLC0415 -- as above

    said = []
    for server in servers.split(","):
        host, _, port = server.rpartition(":")
        if (wrong := nobody_at(host.strip("[]"), int(port))) is None:
            return
        said.append(f"{server} ({wrong})")
    raise BrokerAway(f"the broker is away: {', '.join(said)}")


def require_warehouse(url: str) -> None:
    """The same for the warehouse.

    Raises:
        WarehouseAway: nothing listens there.
    """
    from sinks.errors import WarehouseAway  # noqa: PLC0415 -- as above

    if (wrong := nobody_listens(url)) is not None:
        raise WarehouseAway(f"the warehouse is away: {url} ({wrong})")


def nobody_listens(url: str) -> str | None:
    """Why nothing can be asked at an address; None if something listens."""
    parts = urlsplit(url)
    return nobody_at(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))


def nobody_at(host: str, port: int) -> str | None:
    """The same for host and port."""
    try:
        socket.create_connection((host, port), REACH_S).close()
    except OSError as error:
        return error.strerror or str(error)
    return None

"""Settings become lines to broker and warehouse: apart from workflows, which publishing a job must not load."""

from typing import TYPE_CHECKING

from penstock.settings import Settings
from streams.kafka.connection import Connection

if TYPE_CHECKING:
    from sinks.clickhouse import ClickHouse


def connection(settings: Settings) -> Connection:
    """How this project reaches Kafka."""
    security = {name: value for name, value in settings.kafka_config().items() if name != "bootstrap.servers"}
    return Connection(
        settings.broker,
        prefix=settings.prefix,
        application=settings.application,
        instance=settings.instance,
        transaction_timeout_ms=settings.transaction_timeout_ms,
        security=security,
    )


def warehouse(settings: Settings) -> "ClickHouse":
    """How this project reaches its warehouse; nothing is connected yet."""
    from sinks.clickhouse import ClickHouse  # noqa: PLC0415 -- its library loads slowly, and publishing jobs needs none

    password = settings.warehouse_password.get_secret_value() or None
    return ClickHouse(settings.warehouse_url, settings.warehouse_user, password, settings.warehouse_database)

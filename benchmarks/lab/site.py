"""A site: one pipeline of its own on a stack (topics, warehouse database), with its workers as child processes."""

import functools
import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from checker.collect import Checker
from checker.evidence import Evidence
from checker.ledger import Ledger
from checker.warehouse import Warehouse, WarehouseRefused
from confluent_kafka import Producer

from lab.children import Child, LabError, module, wait_for
from lab.model_server import ModelServer
from penstock.local.banking77 import split
from penstock.local.stack import EmbeddedStack
from penstock.run import PARTS

ROOT: Final = Path(__file__).parents[2]
WORKFLOW: Final = "banking_intent"


class Site:
    """A pipeline that shares broker, warehouse and model server with others but no topic, group or table."""

    def __init__(
        self, stack: EmbeddedStack, name: str, environment: Mapping[str, str] | None = None, **settings: Any
    ) -> None:
        self.name = name
        self.settings = stack.settings(ROOT, prefix=f"{name}.", warehouse_database=name, **settings)
        self.models = ModelServer(self.settings.model_server_url)
        self.warehouse = Warehouse(self.settings.warehouse_url, name)
        calls = self.settings.data_dir / "model_server" / "calls.jsonl"
        self.checker = Checker(self.settings.broker, self.settings.prefix, self.warehouse, calls)
        self.ends = self.checker.ends
        self._environment = dict(environment or {})
        self._children: list[Child] = []
        self._numbers = itertools.count()

    def environment(self) -> dict[str, str]:
        """What a child finds this site by: no other setting reaches it."""
        told = {
            "broker": self.settings.broker,
            "warehouse_url": self.settings.warehouse_url,
            "warehouse_database": self.settings.warehouse_database,
            "model_server_url": self.settings.model_server_url,
            "data_dir": str(self.settings.data_dir),
            "prefix": self.settings.prefix,
        }
        others = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        return others | {f"PENSTOCK_{name.upper()}": value for name, value in told.items()} | self._environment

    def start(self, *parts: str, **told: str) -> Child:
        """Start a worker, as `penstock run` does, with these parts (default: all); return when it is ready."""
        child = self.launch(*parts, **told)
        child.wait_until_it_says('"ready"')
        return child

    def launch(self, *parts: str, **told: str) -> Child:
        """Start a worker, with these variables of the environment besides the site's, and don't wait."""
        chosen = ",".join(parts or PARTS)
        command = module("penstock.cli", "--project", str(ROOT), "run", "--stages", chosen)
        log = self.settings.data_dir / "logs" / f"{self.name}-{next(self._numbers)}-{parts[0] if parts else 'all'}.log"
        child = Child(command, log, self.environment() | told)
        self._children.append(child)
        return child

    def publish(self, count: int, first: int = 0) -> list[str]:
        """Publish jobs as plain JSON with a bare client; return their ids once the broker has acknowledged all."""
        producer = bare_producer(self.settings.broker)
        failed: list[str] = []
        ids = [f"{self.name}-{number:05d}" for number in range(first, first + count)]
        for number, job_id in enumerate(ids):
            producer.produce(
                f"{self.settings.prefix}jobs",
                job(job_id, number),
                on_delivery=lambda error, _: failed.append(str(error)) if error else None,
            )
            producer.poll(0)
        producer.flush(30)
        assert not failed, failed[:3]
        return ids

    def wait_for_ends(self, count: int, limit_s: float = 120.0, alive: tuple[Child, ...] = ()) -> None:
        """Wait until so many ends (results, escalations) are committed.

        Raises:
            LabError: they are not after `limit_s` seconds, or one of `alive` ends first.
        """
        try:
            wait_for(lambda: self.ends.read() >= count, f"{count} ends", limit_s, alive)
        except LabError as error:
            raise LabError(f"{self.ends.count} of {count} jobs have ended: {error}") from error

    def rows(self, table: str) -> int:
        """How many rows a table or view has; none while a sink has yet to make it."""
        try:
            return int(self.warehouse.ask(f"SELECT count() FROM {table}")[0][0])
        except WarehouseRefused:
            return 0

    def evidence(self, ledger: Ledger, alive: tuple[Child, ...] = ()) -> Evidence:
        """Wait until all has come to rest, then look everywhere.

        Raises:
            LabError: one of `alive` ended meanwhile.
        """

        def require_alive() -> None:
            for child in alive:
                child.require_alive()

        return self.checker.collect(ledger, f"{self.name}-", alive=require_alive)

    def close(self) -> None:
        """End what still runs."""
        for child in self._children:
            child.close()
        self.checker.close()


def bare_producer(broker: str) -> Producer:
    """A producer as any program has it that must not lose or repeat what it sends."""
    return Producer(
        {"bootstrap.servers": broker, "acks": "all", "enable.idempotence": True, "linger.ms": 5, "log_level": 0}
    )


@functools.cache
def _texts() -> list[str]:
    return [message.text for message in split("unseen")]


def job(job_id: str, number: int, **more: Any) -> bytes:
    """A job as plain JSON, about the text of this number."""
    texts = _texts()
    return orjson.dumps({"workflow": WORKFLOW, "job_id": job_id, "input": {"text": texts[number % len(texts)]}} | more)

"""A site: one pipeline of its own on a stack (topics, warehouse database), with its workers as child processes."""

import itertools
import os
from pathlib import Path
from typing import Any, Final

import orjson
from confluent_kafka import Producer

from lab.children import Child, LabError, module, wait_for
from lab.model_server import ModelServer
from lab.reading import Ends, read_all
from penstock.lines import warehouse
from penstock.local.banking77 import split
from penstock.local.stack import EmbeddedStack
from penstock.run import PARTS
from sinks.errors import QueryFailed

ROOT: Final = Path(__file__).parents[2]
WORKFLOW: Final = "banking_intent"


class Site:
    """A pipeline that shares broker, warehouse and model server with others but no topic, group or table."""

    def __init__(self, stack: EmbeddedStack, name: str, **settings: Any) -> None:
        self.name = name
        self.settings = stack.settings(ROOT, prefix=f"{name}.", warehouse_database=name, **settings)
        self.models = ModelServer(
            self.settings.model_server_url, self.settings.data_dir / "model_server" / "calls.jsonl"
        )
        self.ends = Ends(self.settings.broker, self.settings.prefix)
        self._warehouse = warehouse(self.settings)
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
        return others | {f"PENSTOCK_{name.upper()}": value for name, value in told.items()}

    def start(self, *parts: str) -> Child:
        """Start a worker, as `penstock run` does, with these parts (default: all); return when it is ready."""
        child = self.launch(*parts)
        child.wait_until_it_says('"ready"')
        return child

    def launch(self, *parts: str) -> Child:
        """Start a worker and don't wait."""
        chosen = ",".join(parts or PARTS)
        command = module("penstock.cli", "--project", str(ROOT), "run", "--stages", chosen)
        log = self.settings.data_dir / "logs" / f"{self.name}-{next(self._numbers)}-{parts[0] if parts else 'all'}.log"
        child = Child(command, log, self.environment())
        self._children.append(child)
        return child

    def publish(self, count: int, first: int = 0) -> list[str]:
        """Publish jobs as plain JSON with a bare client; return their ids once the broker has acknowledged all."""
        texts = [message.text for message in split("unseen")]
        producer = Producer({"bootstrap.servers": self.settings.broker, "acks": "all", "linger.ms": 5, "log_level": 0})
        failed: list[str] = []
        ids = [f"{self.name}-{number:05d}" for number in range(first, first + count)]
        for number, job_id in enumerate(ids):
            job = {"workflow": WORKFLOW, "job_id": job_id, "input": {"text": texts[number % len(texts)]}}
            producer.produce(
                f"{self.settings.prefix}jobs",
                orjson.dumps(job),
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

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the site's warehouse."""
        return list(self._warehouse.query(sql).rows)

    def rows(self, table: str) -> int:
        """How many rows a table or view has; none while a sink has yet to make it."""
        try:
            return int(self.ask(f"SELECT count() FROM {table}")[0][0])
        except QueryFailed:
            return 0

    def traces(self) -> list[Any]:
        """Every committed record on `traces`."""
        return read_all(self.settings.broker, f"{self.settings.prefix}traces")

    def close(self) -> None:
        """End what still runs."""
        for child in self._children:
            child.close()
        self.ends.close()
        self._warehouse.close()

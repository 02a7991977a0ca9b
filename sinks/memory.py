"""A sink that keeps rows in memory, for tests and trials; it passes the contract suite of the real one."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from schemas.avro import decode_rows, newest_json
from schemas.trace import TABLES
from sinks.avro_body import MAGIC, Body, read_long, write_long
from sinks.errors import BrokenArray, RowsRefused, WarehouseAway
from sinks.progress import Gap, Position, Source

MODELS: Final = {table.TABLE: table.__name__ for table in TABLES}
KEYS: Final = {"payloads": "sha256", "control_log": "control_version"}
SYNC: Final = 16


class MemorySink:
    """Keeps rows by their key, so a repeat replaces its copy. Reads bodies of the newest schema only.

    `away` set to True makes every call raise WarehouseAway, as an outage does.
    """

    def __init__(self) -> None:
        self.away = False
        self.gaps: set[Gap] = set()
        self._rows: dict[str, dict[Any, dict[str, Any]]] = {table: {} for table in MODELS}
        self._progress: dict[Source, int] = {}

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table, in the order in which they first came."""
        return list(self._rows[table].values())

    def insert(self, table: str, body: Body, rows: int) -> None:
        """Store the rows of an Avro container body (see `sinks.port.Sink.insert`)."""
        self.ping()
        if table not in MODELS:
            raise RowsRefused(f"{table!r} is no table of events; they are {', '.join(sorted(MODELS))}")
        try:
            found = _decode(MODELS[table], b"".join(body))
        except (BrokenArray, ValueError, LookupError, EOFError, TypeError) as error:
            raise RowsRefused(f"the body is no readable Avro: {error}") from error
        if len(found) < rows:
            raise RowsRefused(f"{table}: {len(found)} rows where the body says {rows}")
        key = KEYS.get(table, "event_id")
        self._rows[table].update({row[key]: row for row in found})

    def progress(self) -> Mapping[Source, int]:
        """What was recorded last for each partition."""
        self.ping()
        return dict(self._progress)

    def set_progress(self, positions: Sequence[Position]) -> None:
        """Record how far the stored rows reach."""
        self.ping()
        for topic, partition, next_offset in positions:
            self._progress[Source(topic, partition)] = next_offset

    def record_gap(self, gap: Gap) -> None:
        """Record that part of the log was gone before it could be stored."""
        self.ping()
        self.gaps.add(gap)

    def ping(self) -> None:
        """Return unless `away` is set."""
        if self.away:
            raise WarehouseAway("the in-memory sink is away: it was closed or told so")

    def close(self) -> None:
        """Be away from now on."""
        self.away = True


def _decode(name: str, body: bytes) -> list[dict[str, Any]]:
    """The rows of a container, read without the library that wrote its arrays, so that the two check each other."""
    if not body.startswith(MAGIC):
        raise ValueError("the magic bytes are missing")
    view, at = memoryview(body), len(MAGIC)
    metadata, at = _metadata(view, at)
    if json.loads(metadata["avro.schema"]) != newest_json(name):
        raise ValueError(f"the schema is not the newest of {name}")
    sync, at = body[at : at + SYNC], at + SYNC
    rows: list[dict[str, Any]] = []
    while at < len(view):
        count, at = read_long(view, at)
        size, at = read_long(view, at)
        rows += decode_rows(name, write_long(count) + body[at : at + size] + b"\x00")
        at += size
        if body[at : at + SYNC] != sync:
            raise ValueError(f"the sync marker at byte {at} is missing")
        at += SYNC
    return rows


def _metadata(view: memoryview, at: int) -> tuple[dict[str, bytes], int]:
    metadata = {}
    count, at = read_long(view, at)
    for _ in range(count):
        size, at = read_long(view, at)
        key, at = bytes(view[at : at + size]).decode(), at + size
        size, at = read_long(view, at)
        metadata[key], at = bytes(view[at : at + size]), at + size
    return metadata, at + 1  # the end mark of the map

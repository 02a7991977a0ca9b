"""What the stages traced, read from the topic with the released schemas alone, against what the warehouse holds."""

import functools
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from confluent_kafka import Message
from fastavro import parse_schema, schemaless_reader
from fastavro.schema import fingerprint, to_parsing_canonical_form

from checker.warehouse import Warehouse

SCHEMAS: Final = Path(__file__).parents[2] / "schemas" / "avsc"
PAYLOADS: Final = "payloads"
"""Its rows are texts named by their hash: the same text is traced as often as it occurs."""

Rows = Mapping[str, Counter[str]]
"""How often each row was found, by table."""


def traced(records: Iterable[Message]) -> dict[str, Counter[str]]:
    """Rows of the records of `traces`, by table and by what names a row."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        headers: dict[str, Any] = dict(record.headers() or ())
        table, schema = headers["penstock-table"].decode(), headers["penstock-schema"].decode()
        rows: Any = schemaless_reader(io.BytesIO(record.value() or b""), _arrays()[schema], None)
        found[table].update(str(row[_key(table)]) for row in rows)
    return dict(found)


def stored(warehouse: Warehouse, tables: Iterable[str]) -> dict[str, Counter[str]]:
    """Rows of the warehouse's tables, deduplicated as its views have them, by what names a row."""
    return {
        table: Counter(row[0] for row in warehouse.ask(f"SELECT {_key(table)} FROM {table} FINAL")) for table in tables
    }


def wrong_rows(on_topic: Rows, in_warehouse: Rows) -> list[str]:
    """How the two differ, as sentences."""
    wrong: list[str] = []
    for table, rows in on_topic.items():
        found = in_warehouse[table]
        counts = {
            "traced more than once": 0 if table == PAYLOADS else sum(count > 1 for count in rows.values()),
            "not stored": len(rows.keys() - found.keys()),
            "stored more than once": sum(count > 1 for count in found.values()),
            "stored but never traced": len(found.keys() - rows.keys()),
        }
        wrong.extend(f"{table}: {count} of {len(rows)} rows {what}" for what, count in counts.items() if count)
    return wrong


@functools.cache
def _arrays() -> dict[str, Any]:
    """The schema of an array of rows, by the fingerprint of its rows' schema."""
    rows = [orjson.loads(path.read_bytes()) for path in SCHEMAS.glob("*Event.v*.avsc")]
    return {
        fingerprint(to_parsing_canonical_form(row), "CRC-64-AVRO"): parse_schema({"type": "array", "items": row})
        for row in rows
    }


def _key(table: str) -> str:
    return "sha256" if table == PAYLOADS else "event_id"

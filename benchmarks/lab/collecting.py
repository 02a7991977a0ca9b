"""Collects a site's evidence once all has come to rest, and compares what the sink stored with what it was given."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from lab.children import Child, wait_for
from lab.evidence import Evidence
from lab.site import Site
from schemas.avro import decode_rows
from schemas.trace import TABLES, PayloadEvent
from streams.batch import TABLE

STORED_S: Final = 60.0
TENANT: Final = "default"
PAYLOADS: Final = PayloadEvent.TABLE
"""Its rows are texts named by their hash: the same text is traced as often as it occurs."""


def collect(
    site: Site, published: Sequence[str], kills: Sequence[float] = (), alive: tuple[Child, ...] = ()
) -> Evidence:
    """Wait until the warehouse has caught up with the ends, then look everywhere.

    Raises:
        LabError: rows are still missing after a minute.
    """
    wait_for(lambda: site.rows("v_jobs") >= len(published), "a row in v_jobs for each job", STORED_S, alive)
    counted = site.ends.attempts
    wait_for(lambda: site.rows("v_calls") >= counted, "a row in v_calls for each attempt", STORED_S, alive)
    site.ends.read()
    return Evidence(
        published=published,
        results=site.ends.results,
        escalations=site.ends.escalations,
        calls=site.models.calls(of=f"{TENANT}/{site.name}-"),
        attempts=Counter(row[0] for row in site.ask("SELECT attempt_id FROM v_calls")),
        job_rows={
            row[0]: (bool(row[1]), int(row[2]))
            for row in site.ask("SELECT job_id, terminal, terminal_rows FROM v_jobs")
        },
        attempts_counted=counted,
        kills=kills,
        in_flight_limit=site.settings.concurrency.get("inference", 256),
    )


def wait_for_rows(site: Site, alive: tuple[Child, ...] = ()) -> list[str]:
    """Wait until every traced row is stored; say what is wrong with them then, or after a minute.

    Call it when no stage writes any more.
    """
    expected = _traced(site)
    until = time.monotonic() + STORED_S
    while wrong := _wrong_rows(expected, _stored(site, expected)):
        for child in alive:
            child.require_alive()
        if time.monotonic() > until:
            return wrong
        time.sleep(0.2)
    return []


def _wrong_rows(traced: Mapping[str, Counter[str]], stored: Mapping[str, Counter[str]]) -> list[str]:
    wrong: list[str] = []
    for table, rows in traced.items():
        found = stored[table]
        counts = {
            "traced more than once": 0 if table == PAYLOADS else sum(count > 1 for count in rows.values()),
            "not stored": len(rows.keys() - found.keys()),
            "stored more than once": sum(count > 1 for count in found.values()),
            "stored but never traced": len(found.keys() - rows.keys()),
        }
        wrong.extend(f"{table}: {count} of {len(rows)} rows {what}" for what, count in counts.items() if count)
    return wrong


def _traced(site: Site) -> dict[str, Counter[str]]:
    """Rows on the topic `traces`, by table and by what names a row; committed ones only."""
    names = {table.TABLE: table.__name__ for table in TABLES}
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for message in site.traces():
        headers = {name: value for name, value in message.headers() or () if isinstance(value, bytes)}
        table = headers[TABLE].decode()
        rows = decode_rows(names[table], message.value() or b"")
        found[table].update(str(row[_key(table)]) for row in rows)
    return dict(found)


def _stored(site: Site, tables: Iterable[str]) -> dict[str, Counter[str]]:
    """Rows of the warehouse's tables, deduplicated as its views have them, by what names a row."""
    return {table: Counter(row[0] for row in site.ask(f"SELECT {_key(table)} FROM {table} FINAL")) for table in tables}


def _key(table: str) -> str:
    return "sha256" if table == PAYLOADS else "event_id"

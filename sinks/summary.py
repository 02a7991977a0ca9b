"""What became of many jobs: counts, money and times. Values are bound as parameters, never pasted in."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from schemas.trace import TABLES
from sinks.warehouse import Parameters, Warehouse

ACCEPTED: Final = ("accepted", "accepted_unverified", "accepted_after_review", "corrected")


def job_counts(
    warehouse: Warehouse, *, tenant: str | None = None, workflow: str | None = None, since: datetime | None = None
) -> dict[str, int]:
    """Jobs by status, the waiting ones under `escalated`; of all tenants, workflows and times unless named.

    Args:
        warehouse: whom to ask.
        tenant: of this tenant only.
        workflow: of this workflow only.
        since: created at this time or later.
    """
    answer = warehouse.query(
        f"SELECT status, count() FROM v_jobs {_WHERE} GROUP BY status ORDER BY count() DESC, status",  # noqa: S608 -- a constant
        _narrowed(tenant, workflow, since),
    )
    return dict(answer.rows)


_WHERE: Final = (
    "WHERE ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)}) "
    "AND ({workflow:Nullable(String)} IS NULL OR workflow = {workflow:Nullable(String)}) "
    "AND ({since:Nullable(DateTime64(6, 'UTC'))} IS NULL OR created_at >= {since:Nullable(DateTime64(6, 'UTC'))})"
)
"""Narrows v_jobs; a parameter that is NULL narrows nothing."""


def _narrowed(tenant: str | None, workflow: str | None, since: datetime | None) -> Parameters:
    return {"tenant": tenant, "workflow": workflow, "since": since}


@dataclass(frozen=True, slots=True)
class RungSummary:
    """The jobs that came to their end on one rung with one variant; money is of all their calls, on lower rungs too."""

    rung: int
    tier: str | None
    variant: str | None
    model: str | None
    jobs: int
    accepted: int
    priced_cost_usd: Decimal
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of the jobs, for people to read.

    `cost_per_accepted_usd` is all money, failed calls and answers not accepted included, per accepted answer; None
    when there is none. Read it beside `price_coverage`, the share of calls whose price is known.
    """

    jobs: int
    accepted: int
    by_status: Mapping[str, int]
    by_rung: tuple[RungSummary, ...]
    calls: int
    failed_calls: int
    tokens: int
    cost_usd: Decimal
    price_coverage: float | None
    cost_per_accepted_usd: Decimal | None
    p50_ms: float | None
    p95_ms: float | None
    rows: Mapping[str, int]


def demo_summary(
    warehouse: Warehouse, *, tenant: str | None = None, workflow: str | None = None, since: datetime | None = None
) -> Summary:
    """What became of the jobs of a time, a tenant or a workflow; `rows` counts whole tables, deduplicated.

    Raises:
        WarehouseAway: not reachable.
    """
    narrowed = _narrowed(tenant, workflow, since)
    by_status = job_counts(warehouse, tenant=tenant, workflow=workflow, since=since)
    total = warehouse.query(_TOTAL, narrowed).dicts()[0]
    calls = warehouse.query(_CALLS, narrowed).dicts()[0]
    accepted = sum(by_status.get(status, 0) for status in ACCEPTED)
    return Summary(
        jobs=sum(by_status.values()),
        accepted=accepted,
        by_status=by_status,
        by_rung=tuple(RungSummary(*row) for row in warehouse.query(_BY_RUNG, narrowed).rows),
        calls=calls["calls"],
        failed_calls=calls["failed"],
        tokens=total["tokens"],
        cost_usd=total["cost_usd"],
        price_coverage=calls["priced"] / calls["calls"] if calls["calls"] else None,
        cost_per_accepted_usd=total["cost_usd"] / accepted if accepted else None,
        p50_ms=total["p50_ms"],
        p95_ms=total["p95_ms"],
        rows=row_counts(warehouse),
    )


def row_counts(warehouse: Warehouse) -> dict[str, int]:
    """Rows of every table of events, repeats not counted."""
    counts = " UNION ALL ".join(f"SELECT '{table.TABLE}', count() FROM {table.TABLE} FINAL" for table in TABLES)  # noqa: S608 -- the names are constants
    found = dict(warehouse.query(counts).rows)
    return {table.TABLE: found[table.TABLE] for table in TABLES}


_TOTAL: Final = f"""
SELECT
    sum(tokens) AS tokens,
    sum(priced_cost_usd) AS cost_usd,
    quantileExactInclusiveOrNullIf(0.5)(total_ms, terminal) AS p50_ms,
    quantileExactInclusiveOrNullIf(0.95)(total_ms, terminal) AS p95_ms
FROM v_jobs {_WHERE}
"""  # noqa: S608 -- a constant

_CALLS: Final = f"""
SELECT count() AS calls, countIf(NOT ok) AS failed, countIf(isNotNull(cost_usd)) AS priced
FROM v_calls WHERE (tenant, job_id) IN (SELECT tenant, job_id FROM v_jobs {_WHERE})
"""  # noqa: S608 -- a constant

_BY_RUNG: Final = f"""
SELECT
    rung, tier, variant, model, count(), countIf(status IN {ACCEPTED}), sum(priced_cost_usd),
    quantileExactInclusive(0.5)(total_ms), quantileExactInclusive(0.95)(total_ms)
FROM v_jobs {_WHERE} GROUP BY rung, tier, variant, model ORDER BY rung, tier, variant, model
"""  # noqa: S608 -- a constant

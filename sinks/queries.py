"""A job's whole story, and users' own queries. Values are bound as parameters, never pasted in."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from schemas.base import Record
from schemas.dead_letter_events import DeadLetterEvent
from schemas.trace import AttemptEvent, CheckEvent, DecisionEvent, GradeEvent, JobEvent, StageEvent, ToolCallEvent
from sinks.errors import JobAmbiguous
from sinks.warehouse import Parameters, Rows, Warehouse

E = TypeVar("E", bound=Record)


@dataclass(frozen=True, slots=True)
class Call:
    """A provider call with its texts; a text is None when it was never had or its life in the warehouse is over."""

    event: AttemptEvent
    request: str | None
    response: str | None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that a model had called, with its texts; a text is None as for a `Call`."""

    event: ToolCallEvent
    arguments: str | None
    response: str | None


@dataclass(frozen=True, slots=True)
class JobTrace:
    """Everything on record about one job; each list in the order in which it happened.

    `job` is how it ended, else its open escalation, else None while it is on its way. `endings` has all such rows.
    """

    tenant: str
    job_id: str
    job: JobEvent | None
    endings: tuple[JobEvent, ...]
    stages: tuple[StageEvent, ...]
    decisions: tuple[DecisionEvent, ...]
    calls: tuple[Call, ...]
    tools: tuple[ToolCall, ...]
    checks: tuple[CheckEvent, ...]
    grades: tuple[GradeEvent, ...]
    dead_letters: tuple[DeadLetterEvent, ...]
    input: str | None
    output: str | None


def job_trace(warehouse: Warehouse, job_id: str, tenant: str | None = None) -> JobTrace | None:
    """Everything on record about a job; None when nothing is.

    Raises:
        JobAmbiguous: several tenants have a job of this id and none was named.
        WarehouseAway: not reachable.
    """
    tenants = _tenants(warehouse, job_id) if tenant is None else (tenant,)
    if not tenants:
        return None
    if len(tenants) > 1:
        raise JobAmbiguous(job_id, tenants)
    trace = _trace(warehouse, job_id, tenants[0])
    return trace if trace.stages or trace.endings or trace.dead_letters else None


def _trace(warehouse: Warehouse, job_id: str, tenant: str) -> JobTrace:
    of_job = {"job_id": job_id, "tenant": tenant}
    endings = _events(warehouse, JobEvent, JobEvent.TABLE, of_job)
    attempts = _events(warehouse, AttemptEvent, AttemptEvent.TABLE, of_job)
    job = max(endings, key=lambda event: (event.terminal, event.time), default=None)
    uses = _events(warehouse, ToolCallEvent, ToolCallEvent.TABLE, of_job)
    hashes = [name for event in attempts for name in (event.request_sha256, event.response_sha256)]
    hashes += [name for event in uses for name in (event.arguments_sha256, event.response_sha256)]
    texts = _texts(warehouse, [*hashes, *((job.input_sha256, job.output_sha256) if job else ())])
    return JobTrace(
        tenant=tenant,
        job_id=job_id,
        job=job,
        endings=endings,
        stages=_events(warehouse, StageEvent, StageEvent.TABLE, of_job),
        decisions=_events(warehouse, DecisionEvent, DecisionEvent.TABLE, of_job),
        calls=tuple(
            Call(event, texts.get(event.request_sha256), texts.get(event.response_sha256 or "")) for event in attempts
        ),
        tools=tuple(
            ToolCall(event, texts.get(event.arguments_sha256), texts.get(event.response_sha256 or "")) for event in uses
        ),
        checks=_events(warehouse, CheckEvent, CheckEvent.TABLE, of_job),
        grades=_events(warehouse, GradeEvent, GradeEvent.TABLE, of_job),
        dead_letters=_events(warehouse, DeadLetterEvent, DeadLetterEvent.TABLE, of_job),
        input=texts.get(job.input_sha256) if job else None,
        output=texts.get(job.output_sha256 or "") if job else None,
    )


def _tenants(warehouse: Warehouse, job_id: str) -> tuple[str, ...]:
    tables = " UNION ALL ".join(
        f"SELECT tenant FROM {table} WHERE job_id = {{job_id:String}}"  # noqa: S608 -- the names are constants
        for table in (StageEvent.TABLE, JobEvent.TABLE, DeadLetterEvent.TABLE)
    )
    answer = warehouse.query(f"SELECT DISTINCT tenant FROM ({tables}) ORDER BY tenant", {"job_id": job_id})  # noqa: S608 -- as above
    return tuple(tenant for (tenant,) in answer.rows)


def _events(warehouse: Warehouse, model: type[E], table: str, of_job: Parameters) -> tuple[E, ...]:
    answer = warehouse.query(
        f"SELECT {', '.join(model.model_fields)} FROM {table} FINAL "  # noqa: S608 -- the names are constants
        "WHERE tenant = {tenant:String} AND job_id = {job_id:String} ORDER BY time, event_id",
        of_job,
    )
    return tuple(model.model_validate(row) for row in answer.dicts())


def _texts(warehouse: Warehouse, hashes: Iterable[str | None]) -> dict[str, str]:
    wanted = sorted({name for name in hashes if name})
    if not wanted:
        return {}
    answer = warehouse.query(
        "SELECT sha256, any(text) FROM payloads WHERE sha256 IN {hashes:Array(String)} GROUP BY sha256",
        {"hashes": wanted},
    )
    return dict(answer.rows)


def run_query(warehouse: Warehouse, sql: str, parameters: Parameters | None = None) -> Rows:
    """A user's own query; it can read everything and change nothing.

    Raises:
        QueryFailed: refused, or too slow.
        WarehouseAway: not reachable.
    """
    return warehouse.query(sql, parameters, read_only=True)

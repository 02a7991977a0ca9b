"""A call's arguments into the record that is published: value, key and headers. Pure but for the ids it draws."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypedDict, cast

import orjson
from pydantic import ValidationError

from penstock.errors import InvalidJob
from schemas.base import json_text
from schemas.headers import JSON, cloud_event, traceparent
from schemas.job import Audience, Chunk, DataClass, Job, Risk, Snapshot, TaskType
from streams.records import Headers
from streams.topics import JOBS


class JobFields(TypedDict, total=False):
    """What may be said about a job beside its workflow, input and id; docs/publish.md explains each.

    `traceparent` is a W3C trace context to join; it travels as a header.
    """

    messages: list[dict[str, str]]
    context: Snapshot
    tenant: str
    user: str
    session: str
    segments: dict[str, str]
    risk: Risk | str
    task_type: TaskType | str
    data_class: DataClass | str
    deadline_ms: int
    max_latency_ms: int
    max_cost_usd: Decimal | str
    audience: Audience | str
    stream: bool
    metadata: dict[str, str]
    traceparent: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job ready to be published."""

    job_id: str
    tenant: str | None
    trace_id: str
    key: bytes
    value: bytes
    headers: Headers


def prepare(workflow: str, value: Any, job_id: str | None, fields: JobFields) -> Prepared:
    """The record of a job. Without a job_id it gets a random one.

    Raises:
        InvalidJob: a field is unknown or wrong, or `value` is no JSON value.
    """
    rest = cast("dict[str, Any]", dict(fields))
    given = rest.pop("traceparent", None)
    job = _job({"workflow": workflow, "job_id": job_id or str(uuid.uuid4())} | rest, value)
    assert job.job_id is not None
    trace = traceparent([("traceparent", given.encode())] if given else (), f"{job.tenant or ''}/{job.job_id}")
    if given not in {None, trace}:
        raise InvalidJob(f"traceparent: {given!r} is no W3C trace context such as 00-<32 hex>-<16 hex>-01")
    headers = cloud_event(
        JOBS.name,
        event_id=f"{job.tenant or ''}/{job.job_id}/{JOBS.name}",
        source="penstock/client",
        time=datetime.now(UTC),
        content_type=JSON,
        trace=trace,
    )
    return Prepared(job.job_id, job.tenant, trace[3:35], job.job_id.encode(), _encode(job), headers)


def _job(fields: dict[str, Any], value: Any) -> Job:
    try:
        texts = {"input": json_text(value)}
        if fields.get("messages") is not None:
            texts["messages"] = json_text(fields["messages"])
        return Job.model_validate(fields | texts)
    except ValidationError as error:
        sentences = [f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors()]
        raise InvalidJob("; ".join(sentences)) from error
    except ValueError as error:
        raise InvalidJob(f"input and messages must be JSON values: {error}") from error


def _encode(job: Job) -> bytes:
    fields = job.model_dump(mode="json", exclude_unset=True, exclude={"input", "messages"})
    fields["input"] = orjson.Fragment(job.input)
    if job.messages is not None:
        fields["messages"] = orjson.Fragment(job.messages)
    return orjson.dumps(fields)


def make_snapshot(
    snapshot_id: str,
    version: str,
    chunks: Iterable[Chunk | Mapping[str, Any]],
    *,
    taken_at: datetime | None = None,
    valid_until: datetime | None = None,
) -> Snapshot:
    """A context snapshot with its hash.

    Args:
        snapshot_id: What it is a snapshot of.
        version: Which state of it.
        chunks: The pieces of context, each with an id and a text or a URI.
        taken_at: When it was read; now by default.
        valid_until: When answers from it become stale; never by default.

    Raises:
        InvalidJob: a chunk is not as it must be.
    """
    try:
        parts = tuple(chunk if isinstance(chunk, Chunk) else Chunk.model_validate(chunk) for chunk in chunks)
        unproved = Snapshot(
            id=snapshot_id,
            version=version,
            taken_at=taken_at or datetime.now(UTC),
            valid_until=valid_until,
            sha256="0" * 64,
            chunks=parts,
        )
    except ValidationError as error:
        found = error.errors()[0]
        raise InvalidJob(f"snapshot: {'.'.join(map(str, found['loc']))}: {found['msg']}") from error
    return unproved.model_copy(update={"sha256": unproved.content_sha256()})

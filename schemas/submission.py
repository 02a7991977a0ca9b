"""Reads a producer's record: JSON or Avro into a job, or into a clear sentence about what is wrong with it.

A record that is an object can be identified, by its job_id or by its address, so it gets a result; one that can't be
read at all becomes a dead letter.
"""

import functools
import json
from datetime import datetime, timedelta
from typing import Any

import jiter
from pydantic import ValidationError

from schemas.avro import MARKER, Codec, Unreadable
from schemas.base import JsonText, json_text, money
from schemas.envelope import NO_PATH, NOTHING_SPENT, Envelope, Head, Header, Origin
from schemas.headers import traceparent
from schemas.job import Audience, Job, Priority, Risk
from schemas.stages import Submission

DEADLINE_MS = {Audience.SYSTEM: 3_600_000, Audience.USER: 30_000}
"""Milliseconds that a job has when it names no deadline."""

MAX_JOB_BYTES = 1024 * 1024
"""A larger record is only identified: what it asks for does not travel from stage to stage."""

_TEXT_FIELDS = ("input", "messages")
_NAMELESS = "unknown"


def read_submission(
    value: bytes | None, origin: Origin, appended_at: datetime, tenant: str = "default"
) -> Envelope[Submission]:
    """The envelope of a producer's record; `appended_at` is the broker's time, `tenant` the topic's.

    Raises:
        Unreadable: the bytes are neither a JSON object nor an Avro job: nobody can be answered.
    """
    if not value:
        raise Unreadable('the record is empty; expected a JSON object such as {"workflow": "…", "input": {…}}')
    fields, problem = _read_avro(value) if value[:2] == MARKER else _read_object(value)
    job: Job | None = None
    if len(value) > MAX_JOB_BYTES:
        problem = f"too_large: the record has {len(value)} bytes, the limit is {MAX_JOB_BYTES}"
    if problem is None:
        job, problem = _read_job(fields)
    return _envelope(Submission.made(job=job, problem=problem, size=len(value)), fields, origin, appended_at, tenant)


@functools.cache
def _job_codec() -> Codec[Job]:
    return Codec("Job", Job)


def _strict(data: bytes) -> Any:
    return jiter.from_json(data, allow_inf_nan=False, catch_duplicate_keys=True)


def _read_avro(value: bytes) -> tuple[dict[str, Any], str | None]:
    """The fields of an Avro job and, if one of its JSON texts is none, which: nobody has read them before."""
    fields = _job_codec().decode(value).model_dump()
    for name in _TEXT_FIELDS:
        try:
            fields[name] = None if fields[name] is None else _strict(fields[name].encode())
        except ValueError as error:
            return fields, f"{name}: is not valid JSON: {error}"
    return fields, None


def _read_object(value: bytes) -> tuple[dict[str, Any], str | None]:
    """The object and, if strict JSON refuses it, why; the lenient second reading only serves to identify the job."""
    problem = None
    try:
        fields = _strict(value)
    except ValueError as strict:
        problem = f"the record is not valid JSON: {strict}"
        try:
            fields = json.loads(value, strict=False)
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"expected a JSON object or an Avro job, found {_glimpse(value)}: {strict}") from error
    if not isinstance(fields, dict):
        raise Unreadable(f"expected a JSON object, found a {type(fields).__name__}: {_glimpse(value)}")
    return fields, problem


def _glimpse(value: bytes) -> str:
    return f"{len(value)} bytes starting with {value[:24]!r}"


def _read_job(fields: dict[str, Any]) -> tuple[Job | None, str | None]:
    given = {name: value for name, value in fields.items() if value is not None}  # null says as much as absence
    for name in given.keys() & _TEXT_FIELDS:
        try:
            given[name] = json_text(given[name])
        except ValueError as error:
            return None, f"{name}: {error}"
    try:
        job = Job.model_validate(given)
        # With its nine places, as it will be read from the wire: a reason that names it says the same at every stage.
        return (job if job.max_cost_usd is None else job.but(max_cost_usd=money(job.max_cost_usd))), None
    except ValidationError as error:
        return None, "; ".join(map(_sentence, error.errors()[:5]))


def _sentence(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"]) or "the job"
    match error["type"]:
        case "missing":
            return f"{place}: is missing; a job needs at least workflow and input"
        case "extra_forbidden":
            return f"{place}: is no field of a job; put values of your own into metadata"
        case _:
            what = error["msg"].removeprefix("Value error, ")
            return f"{place}: {what}, found {str(error['input'])[:80]!r}"


def _envelope(
    submission: Submission, fields: dict[str, Any], origin: Origin, appended_at: datetime, tenant: str
) -> Envelope[Submission]:
    job = submission.job
    identity = (job.job_id if job else _identifier(fields.get("job_id"))) or derived_job_id(origin)
    headers = tuple((header.name, header.value) for header in origin.headers)
    deadline_ms = (job.deadline_ms or DEADLINE_MS[job.audience]) if job else DEADLINE_MS[Audience.SYSTEM]
    head = Head.made(
        tenant=(job.tenant if job else _identifier(fields.get("tenant"))) or tenant,
        job_id=identity,
        user=job.user if job else None,
        session=job.session if job else None,
        workflow=job.workflow if job else _identifier(fields.get("workflow")) or "",
        workflow_version="",
        rung=0,
        round=0,
        risk=(job.risk if job else None) or Risk.NORMAL,
        priority=Priority.NORMAL,
        created_at=appended_at,
        deadline=appended_at + timedelta(milliseconds=deadline_ms),
        trace=traceparent(headers, f"{origin.topic}/{origin.partition}/{origin.offset}/{identity}"),
        control_version=-1,
        reservation=None,
        arm="baseline",
        segments=job.segments if job else {},
        flags=(),
        origin=origin,
        path=NO_PATH,
        spent=NOTHING_SPENT,
        shown=False,
    )
    return Envelope.made(head=head, payload=submission)


def _identifier(value: Any) -> str | None:
    """A value that can serve as an id in a result: printable text of at most 200 characters."""
    if isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable() and " " not in value:
        return value
    return None


def derived_job_id(origin: Origin) -> str:
    """The id of a job that names none: its record's address, so that a redelivery has the same."""
    return f"{origin.topic}-{origin.partition}-{origin.offset}"


def origin_of(
    topic: str, partition: int, offset: int, key: bytes | None, headers: tuple[tuple[str, bytes | None], ...]
) -> Origin:
    """The origin of a producer's record."""
    return Origin.made(
        topic=topic,
        partition=partition,
        offset=offset,
        key=key,
        headers=tuple(Header.made(name=name, value=value) for name, value in headers),
    )


def undecided_job(submission: Submission, workflow: str) -> Job:
    """The job of a submission, or an empty one to carry a decision about a record that holds none.

    A name that no workflow can have stays in the head: the next stage must be able to read the job.
    """
    if submission.job is not None:
        return submission.job
    nothing = JsonText("null")
    try:
        return Job(workflow=workflow, input=nothing)
    except ValidationError:
        return Job(workflow=_NAMELESS, input=nothing)

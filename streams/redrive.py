"""What becomes of a dead letter: a new job, the record put back as it was, or a note that nothing shall. Pure."""

from dataclasses import dataclass
from datetime import datetime

import orjson

from schemas.dead_letter_events import DeadLetterActionEvent
from schemas.headers import JSON, cloud_event
from schemas.job import Job
from schemas.submission import MAX_JOB_BYTES
from streams.batch import trace_records
from streams.dead_letters import ACTIONS, DROP, REDRIVE, Letter, contents, new_job_id
from streams.errors import LetterUnfit
from streams.header_names import REDRIVE_OF
from streams.records import Headers, Record
from streams.sizes import too_large
from streams.topics import DEAD_LETTER_ACTIONS, FLOW, HELD, JOBS, MAX_BYTES, PRODUCERS, REVIEWS, TRACES, VERDICTS

REDRIVE_OF_FIELD = "redrive_of"
"""In a redriven job's metadata, and so in its result's: the id of the job that it does again."""

_OURS = ("penstock-", "ce_", "__dlq.")
_TAKEN_BACK = frozenset({*PRODUCERS, *FLOW, HELD.name, REVIEWS.name, VERDICTS.name, TRACES.name})
_REPLACED = frozenset({"content-type", "traceparent"})


@dataclass(frozen=True, slots=True)
class Deed:
    """Who does something about letters, when and why."""

    who: str
    why: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Done:
    """What is done about a letter: the action, and every record that it takes, for one transaction."""

    action: DeadLetterActionEvent
    records: tuple[Record, ...]


def drop(letter: Letter, deed: Deed, n: int) -> Done:
    """Nothing shall become of it; `n` counts what was done about it."""
    return _done(letter, deed, n, DROP)


def redrive(letter: Letter, deed: Deed, n: int) -> Done:
    """Do again what was given up on. A claimed value must be put in before.

    Raises:
        LetterUnfit: nothing could be made of it; the text says why, and what to do.
    """
    found = contents(letter)
    if found.head is not None and found.job is not None:
        job_id = new_job_id(letter, found.head.job_id, n)
        job = found.job.model_copy(
            update={
                "job_id": job_id,
                "tenant": found.head.tenant,
                "idempotency_key": None,  # it was used up by the job that this one does again
                "metadata": {**found.job.metadata, REDRIVE_OF_FIELD: found.head.job_id},
            }
        )
        value = job_json(job)
        if len(value) > MAX_JOB_BYTES:
            raise LetterUnfit(f"{letter.address}: its job would have {len(value)} bytes, intake takes {MAX_JOB_BYTES}")
        carried = tuple((header.name, header.value) for header in found.head.origin.headers)
        headers = _job_headers(letter, found.head.trace, f"{found.head.tenant}/{job_id}", deed.at, carried)
        record = _fitting(letter, Record(JOBS.name, found.head.origin.key, value, headers))
        return _done(letter, deed, n, REDRIVE, record, job_id)
    return _done(letter, deed, n, REDRIVE, _fitting(letter, _as_it_was(letter, known=found.head is not None)))


def _as_it_was(letter: Letter, *, known: bool) -> Record:
    problem = contents(letter).problem
    if known:
        raise LetterUnfit(
            f"{letter.address}: its job can be told, but not run: {problem}. Let the producer mend it and send "
            "it under a new job_id"
        )
    if letter.cut:
        raise LetterUnfit(
            f"{letter.address}: {letter.cut} did not fit into the dead letter, so it can't be put back; the whole "
            f"record lies at {letter.origin} until that topic's retention ends"
        )
    if letter.why.topic not in _TAKEN_BACK:
        raise LetterUnfit(f"{letter.address}: nothing is put back to {letter.why.topic or 'a topic without a name'}")
    kept = tuple(pair for pair in letter.raw.headers if pair[0] != REDRIVE_OF)
    mark = (REDRIVE_OF, str(letter.address).encode())
    return Record(letter.why.topic, letter.raw.key, letter.raw.value, (*kept, mark))


def _fitting(letter: Letter, record: Record) -> Record:
    if (why := too_large(record)) is not None and record.topic in MAX_BYTES:
        raise LetterUnfit(f"{letter.address}: {why}")
    return record


def _job_headers(letter: Letter, trace: str, identity: str, at: datetime, own: Headers) -> Headers:
    """The producer's own headers, and ours anew; the trace goes on, so that both jobs are found under it."""
    kept = tuple(pair for pair in own if pair[0] not in _REPLACED and not pair[0].startswith(_OURS))
    ours = cloud_event(
        JOBS.name,
        event_id=f"{identity}/{JOBS.name}",
        source="penstock/dlq",
        time=at,
        content_type=JSON,
        trace=trace,
    )
    return (*kept, *ours, (REDRIVE_OF, str(letter.address).encode()))


def job_json(job: Job) -> bytes:
    """A job as a producer writes it: what is not given is left out."""
    fields = job.model_dump(mode="json", exclude_none=True, exclude_defaults=True, exclude={"input", "messages"})
    fields["input"] = orjson.Fragment(job.input)
    if job.messages is not None:
        fields["messages"] = orjson.Fragment(job.messages)
    return orjson.dumps(fields)


def _done(
    letter: Letter, deed: Deed, n: int, action: str, record: Record | None = None, job_id: str | None = None
) -> Done:
    event = DeadLetterActionEvent(
        time=deed.at,
        event_id=f"{letter.address}/{n}",
        letter=str(letter.address),
        n=n,
        action=action,
        who=deed.who,
        why=deed.why,
        tenant=letter.why.tenant,
        job_id=letter.why.job_id,
        new_job_id=job_id,
        destination=record.topic if record is not None else None,
        stage=letter.why.stage,
        error_class=letter.why.error_class,
    )
    audit = Record(DEAD_LETTER_ACTIONS.name, event.letter.encode(), ACTIONS.encode(event))
    return Done(event, (*((record,) if record is not None else ()), audit, *trace_records([event])))

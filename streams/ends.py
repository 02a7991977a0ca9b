"""How a job ends: its one terminal record on `results`, or its wait for a person on `escalations`."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson

from processors.outcome import Pass
from schemas.base import JsonText, sha256_hex, to_the_microsecond
from schemas.envelope import Envelope, Head
from schemas.headers import cloud_event
from schemas.job import Job
from schemas.quick import quick
from schemas.result import Result, ResultUsage, SnapshotStamp, Timings, stage_times
from schemas.side import ContextRequest, Escalation, Spend, SpendKind, Took
from schemas.stages import Completion, Decision, GateDecision, Held, Status, Usage
from schemas.trace import Event, JobEvent
from streams import call_rows, trace_rows
from streams.deltas import last
from streams.header_names import PRODUCERS_KEY
from streams.records import Emission, Headers, Record
from streams.stage import Moment
from streams.topics import CONTEXT_REQUESTS, ESCALATIONS, HELD, RESULTS, SPEND, SPENDS, Topic
from streams.trace_rows import OUTCOME_WORDS
from streams.wire import flow_record

NO_USAGE = Usage()

CALLS = "inference"
"""The stage in which models answer."""

REVIEW_TIME = timedelta(days=7)
"""How long an escalation waits for a person."""


@quick
@dataclass(frozen=True, slots=True)
class Ending:
    """A job as it stands when it ends: what is known of it, as far as it came."""

    stage: str
    head: Head
    job: Job
    moment: Moment
    decision: Decision | None = None
    completion: Completion | None = None
    gate: GateDecision | None = None

    @property
    def known(self) -> dict[str, Any]:
        """What a result and a row about it share."""
        spent = self.head.spent
        return {
            "job_id": self.head.job_id,
            "tenant": self.head.tenant,
            "workflow": self.head.workflow,
            "workflow_version": self.head.workflow_version,
            "rung": self.head.rung,
            "trace_id": self.head.trace_id,
            "attempts": spent.attempts,
            "cost_usd": spent.cost_usd if spent.unpriced == 0 else None,
        }

    @property
    def total_ms(self) -> float:
        """Milliseconds since the broker acknowledged the job."""
        return to_the_microsecond((self.moment.finished_at - self.head.created_at).total_seconds() * 1000)


def result(ending: Ending, status: Status, reason: str, output: JsonText | None) -> Emission:
    """The terminal record of a job, and its row."""
    head, job, decision, completion = ending.head, ending.job, ending.decision, ending.completion
    path = orjson.loads(head.path)
    record = Result.made(
        **ending.known,
        status=status,
        output=output,
        confidence=ending.gate.confidence if ending.gate else None,
        citations=_citations(output),
        reason=reason,
        variant=decision.variant if decision else None,
        model=completion.model if completion else None,
        tier=decision.tier if decision else None,
        usage=ResultUsage.made(input_tokens=head.spent.input_tokens, output_tokens=head.spent.output_tokens),
        timings=Timings.made(total_ms=ending.total_ms, stages_ms=stage_times(path)),
        decision_path=head.path,
        snapshot=_stamp(job),
        metadata=job.metadata,
    )
    published = Record(RESULTS.name, head.job_id.encode(), record.to_json(), _headers(RESULTS, ending))
    return Emission(
        (published, _close(ending, path)),
        (_job_event(ending, status.value, reason, output), *_output_text(output, ending)),
        told=last(head, completion, status.value, output),
    )


def _citations(output: JsonText | None) -> tuple[str, ...]:
    """What an answer names under `citations`: ids of the chunks that it rests on."""
    if output is None or '"citations"' not in output:
        return ()
    value = orjson.loads(output)
    cited = value.get("citations") if isinstance(value, dict) else None
    return tuple(cited) if isinstance(cited, list) and all(isinstance(one, str) for one in cited) else ()


def _close(ending: Ending, path: list[dict[str, Any]]) -> Record:
    """What closes the job's entry in routing's state."""
    head = ending.head
    close = Spend.made(
        kind=SpendKind.CLOSE,
        tenant=head.tenant,
        job_id=head.job_id,
        rung=head.rung,
        round=head.round,
        attempt_id=None,
        reservation=None,
        amount_usd=None,
        usage=NO_USAGE,
        at=ending.moment.finished_at,
        workflow=head.workflow,
        workflow_version=head.workflow_version,
        took=tuple(Took.made(rung=one["rung"], ms=one["ms"]) for one in path if _answered(one)),
    )
    return Record(SPEND.name, head.tenant.encode(), SPENDS.encode(close))


def _answered(step: dict[str, Any]) -> bool:
    """Whether a step is a model's answer."""
    return bool(step["stage"] == CALLS and step["outcome"] == OUTCOME_WORDS[Pass])


def context_request(ending: Ending, reason: str) -> tuple[Record, ...]:
    """What asks the job's sender for a newer context; nothing of a job that brought none."""
    head, job, context = ending.head, ending.job, ending.job.context
    if context is None:
        return ()
    asked = ContextRequest.made(
        job_id=head.job_id,
        tenant=head.tenant,
        workflow=head.workflow,
        workflow_version=head.workflow_version,
        reason=reason,
        snapshot_id=context.id,
        snapshot_version=context.version,
        job=job,
        trace_id=head.trace_id,
        asked_at=ending.moment.finished_at,
    )
    headers = _headers(CONTEXT_REQUESTS, ending)
    return (Record(CONTEXT_REQUESTS.name, head.job_id.encode(), asked.to_json(), headers),)


def escalation(ending: Ending, reason: str, proposed: JsonText | None, confidence: float | None) -> Emission:
    """The record that a person must see; the job stays open and has no result yet."""
    head, at = ending.head, ending.moment.finished_at
    record = Escalation.made(
        **ending.known,
        escalation_id=f"{head.tenant}/{head.job_id}/{head.rung}/{head.round}",
        stage=ending.stage,
        reason=reason,
        job=ending.job,
        proposed=proposed,
        confidence=confidence,
        decision_path=head.path,
        escalated_at=at,
        expires_at=at + REVIEW_TIME,
    )
    held = Held.made(
        job=ending.job,
        stage=ending.stage,
        reason=reason,
        proposed=proposed,
        decision=ending.decision,
        completion=ending.completion,
        gate=ending.gate,
        escalation_id=record.escalation_id,
        expires_at=record.expires_at,
    )
    published = Record(ESCALATIONS.name, head.job_id.encode(), record.to_json(), _headers(ESCALATIONS, ending))
    waits = flow_record(HELD, Envelope[Held].made(head=head, payload=held), at)
    return Emission(
        (published, waits),
        (_job_event(ending, "escalated", reason, proposed), *_output_text(proposed, ending)),
        told=last(head, ending.completion, "escalated", proposed),
    )


def _job_event(ending: Ending, status: str, reason: str, output: JsonText | None) -> JobEvent:
    head, job, decision = ending.head, ending.job, ending.decision
    return JobEvent.made(
        **trace_rows.common(ending.stage, head, ending.moment, "job") | ending.known,
        status=status,
        terminal=status != "escalated",
        reason=reason,
        confidence=ending.gate.confidence if ending.gate else None,
        variant=decision.variant if decision else None,
        tier=decision.tier.value if decision else None,
        gen_ai_response_model=ending.completion.model if ending.completion else None,
        input_sha256=sha256_hex(job.input),
        output_sha256=sha256_hex(output) if output is not None else None,
        input_tokens=head.spent.input_tokens,
        output_tokens=head.spent.output_tokens,
        priced_cost_usd=head.spent.cost_usd,
        unpriced_attempts=head.spent.unpriced,
        created_at=head.created_at,
        deadline=head.deadline,
        total_ms=ending.total_ms,
        snapshot_id=job.context.id if job.context else None,
        snapshot_version=job.context.version if job.context else None,
        source_topic=head.origin.topic,
        source_partition=head.origin.partition,
        source_offset=head.origin.offset,
    )


def _output_text(output: JsonText | None, ending: Ending) -> tuple[Event, ...]:
    return () if output is None else (call_rows.text("output", output, ending.moment.finished_at),)


def _stamp(job: Job) -> SnapshotStamp | None:
    context = job.context
    if context is None:
        return None
    return SnapshotStamp(id=context.id, version=context.version, valid_until=context.valid_until)


def _headers(topic: Topic, ending: Ending) -> Headers:
    head = ending.head
    ours = cloud_event(
        topic.name,
        event_id=f"{head.tenant}/{head.job_id}/{topic.name}",
        source=f"penstock/{head.workflow}",
        time=ending.moment.finished_at,
        content_type=topic.content_type,
        trace=head.trace,
    )
    return ours if head.origin.key is None else (*ours, (PRODUCERS_KEY, head.origin.key))

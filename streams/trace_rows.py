"""Facts to trace rows: what a stage learned becomes one row per thing that happened, and moves the head's totals."""

from collections.abc import Iterator
from typing import Any

from processors.outcome import NO_FACTS, Climb, Escalate, Facts, Outcome, Pass, Reject, Retry
from schemas.base import sha256_hex, to_the_microsecond
from schemas.envelope import Envelope, Head, Spent, Step
from schemas.job import Snapshot
from schemas.stages import Attempt, Decision, Submission
from schemas.submission import undecided_job
from schemas.trace import (
    CheckEvent,
    ChunkEvent,
    DecisionEvent,
    Event,
    GradeEvent,
    StageEvent,
    TargetEvent,
)
from streams.call_rows import attempt_rows, text, tool_rows
from streams.records import Address
from streams.stage import Moment

OUTCOME_WORDS = {Pass: "pass", Retry: "retry", Climb: "climb", Escalate: "escalate", Reject: "reject"}


def after(stage: str, head: Head, outcome: Outcome[Any], moment: Moment) -> Head:
    """The head with this stage's step on its path and its attempts in the totals."""
    step = Step.made(
        stage=stage,
        rung=head.rung,
        round=head.round,
        outcome=OUTCOME_WORDS[type(outcome)],
        reason=outcome.reason,
        ms=to_the_microsecond(moment.duration_ms),
    )
    spent = _spent(head.spent, outcome.facts.attempts)
    return head.but(path=head.path_with(step), spent=spent)


def _spent(spent: Spent, attempts: tuple[Attempt, ...]) -> Spent:
    if not attempts:
        return spent
    return Spent.made(
        attempts=spent.attempts + len(attempts),
        input_tokens=spent.input_tokens + sum(attempt.usage.input_tokens or 0 for attempt in attempts),
        output_tokens=spent.output_tokens + sum(attempt.usage.output_tokens or 0 for attempt in attempts),
        nano_usd=spent.nano_usd + sum(int(attempt.cost_usd.scaleb(9)) for attempt in attempts if attempt.cost_usd),
        unpriced=spent.unpriced + sum(attempt.cost_usd is None for attempt in attempts),
    )


def common(stage: str, head: Head, moment: Moment, n: str) -> dict[str, Any]:
    """The columns that every row of a job carries; `n` tells rows of one stage, rung and round apart."""
    return {
        "time": moment.finished_at,
        "tenant": head.tenant,
        "workflow": head.workflow,
        "workflow_version": head.workflow_version,
        "job_id": head.job_id,
        "trace_id": head.trace_id,
        "stage": stage,
        "rung": head.rung,
        "round": head.round,
        "arm": head.arm,
        "control_version": moment.control_version,
        "segments": head.segments,
        "event_id": f"{head.tenant}/{head.job_id}/{stage}/{head.rung}/{head.round}/{moment.rounds_waited}/{n}",
    }


def of_outcome(
    stage: str, address: Address, head: Head, envelope: Envelope[Any], outcome: Outcome[Any], moment: Moment
) -> Iterator[Event]:
    """The rows of one finished stage: the stage's own, and one for each fact."""
    shared, facts = common(stage, head, moment, ""), outcome.facts
    yield StageEvent.of(
        {
            **shared,
            "event_id": shared["event_id"] + "stage",
            "outcome": OUTCOME_WORDS[type(outcome)],
            "status": outcome.status.value if isinstance(outcome, Reject) else None,
            "reason": outcome.reason,
            "error_class": facts.attempts[-1].error_class if facts.attempts else None,
            "queue_ms": moment.queue_ms,
            "duration_ms": moment.duration_ms,
            "worker": moment.worker,
            "messaging_destination_name": address.topic,
            "messaging_kafka_partition": address.partition,
            "messaging_kafka_offset": address.offset,
        }
    )
    if isinstance(envelope.payload, Submission):
        job = undecided_job(envelope.payload, head.workflow)
        yield text("input", job.input, moment.finished_at)
        if job.context is not None:
            yield from _of_context(shared, job.context, head)
    if facts is not NO_FACTS:
        yield from _of_facts(shared, facts, facts.decision or vars(envelope.payload).get("decision"), envelope)


def _of_context(shared: dict[str, Any], context: Snapshot, head: Head) -> Iterator[Event]:
    for place, chunk in enumerate(context.chunks):
        updated = chunk.source_updated_at
        yield ChunkEvent.of(
            {
                **shared,
                "event_id": f"{shared['event_id']}chunk-{place}",
                "snapshot_id": context.id,
                "snapshot_version": context.version,
                "chunk_id": chunk.id,
                "source": chunk.source,
                "source_updated_at": updated,
                "indexed_at": chunk.indexed_at,
                "index_version": chunk.index_version,
                "score": chunk.score,
                "age_s": None if updated is None else (head.created_at - updated).total_seconds(),
            }
        )


def repeated(stage: str, address: Address, head: Head, reason: str, moment: Moment) -> StageEvent:
    """The row of a record that was there before: all that is left of it."""
    return StageEvent.made(
        **common(stage, head, moment, f"repeated-{address}"),
        outcome="repeated",
        status=None,
        reason=reason,
        error_class=None,
        queue_ms=moment.queue_ms,
        duration_ms=moment.duration_ms,
        worker=moment.worker,
        messaging_destination_name=address.topic,
        messaging_kafka_partition=address.partition,
        messaging_kafka_offset=address.offset,
    )


def _of_facts(
    shared: dict[str, Any], facts: Facts, decision: Decision | None, envelope: Envelope[Any]
) -> Iterator[Event]:
    place = shared["event_id"]
    if facts.decision is not None:
        yield _decision_row(shared, facts.decision, facts.decided_on)
    for attempt in facts.attempts:
        assert decision is not None, f"{attempt.attempt_id}: an attempt without a decision"
        yield from attempt_rows(shared, attempt, decision)
    for n, news in enumerate(facts.news):
        yield TargetEvent.of(
            {
                **shared,
                "event_id": f"{place}target-{n}",
                "gen_ai_provider_name": news.provider,
                "target": news.target,
                "before": news.before,
                "after": news.after,
                "reason": news.why,
            }
        )
    for use in facts.tool_uses:
        yield from tool_rows(shared, use)
    for finding in facts.findings:
        yield CheckEvent.of(
            {
                **shared,
                "event_id": f"{place}check-{finding.check}",
                "check_name": finding.check,
                "check_version": finding.version,
                "verdict": finding.verdict.value,
                "evidence": finding.evidence,
                "duration_ms": finding.ms,
            }
        )
    if (gate := facts.gate) is not None:
        assert decision is not None, f"{place}: a gate without a decision"
        yield GradeEvent.of(
            {
                **shared,
                "event_id": place + "grade",
                "variant": decision.variant,
                "gen_ai_response_model": envelope.payload.completion.model,
                "output_sha256": sha256_hex(envelope.payload.output),
                **gate.__dict__,
            }
        )


def _decision_row(shared: dict[str, Any], decision: Decision, decided_on: str) -> DecisionEvent:
    return DecisionEvent.of(
        {
            **shared,
            "event_id": shared["event_id"] + "decision",
            "variant": decision.variant,
            "tier": decision.tier.value,
            "gen_ai_provider_name": decision.provider,
            "gen_ai_request_model": decision.model,
            "reasons": decision.reasons,
            "skipped": decision.skipped,
            "inputs": decided_on,
            "without": decision.without,
        }
    )

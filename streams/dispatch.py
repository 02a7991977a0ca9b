"""Outcome to records and trace events: pure, and the only place that turns a verdict into addresses."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar, assert_never

from processors.outcome import NO_FACTS, Climb, Escalate, Facts, Outcome, Pass, Reject, Retry
from schemas.base import Record as Model
from schemas.dead_letter_events import DeadLetterEvent
from schemas.envelope import Envelope, Head
from schemas.job import Job
from schemas.side import DeadLetter
from schemas.stages import Accepted, Admitted, Decided, Status, Submission
from schemas.submission import undecided_job
from schemas.trace import Event
from streams import ends, trace_rows
from streams.records import Delivery, Emission, Raw, Record
from streams.stage import Again, Moment, Rejects, Stage
from streams.topics import ADMITTED, DEAD_LETTERS
from streams.wire import flow_record, waiting_record

In = TypeVar("In", bound=Model)
Out = TypeVar("Out", bound=Model)
T = TypeVar("T", bound=Model)


def dispatch(
    stage: Stage[In, Out], delivery: Delivery, envelope: Envelope[In], outcome: Outcome[Out], moment: Moment
) -> Emission:
    """Everything that this outcome of this stage causes."""
    outcome = _within_deadline(outcome, envelope.head, moment)
    head, job, at = trace_rows.after(stage.name, envelope.head, outcome, moment), job_of(envelope), moment.finished_at
    match outcome:
        case Pass(product=Accepted() as accepted, reason=reason):
            end = ends.result(_ending(stage, head, job, moment, accepted), Status.ACCEPTED, reason, accepted.output)
        case Pass():
            assert stage.passes is not None, (
                f"{stage.name} passed a {type(outcome.product).__name__} with nowhere to go"
            )
            end = Emission((flow_record(stage.passes, _onward(head, outcome), at),))
        case Climb():
            end = _to_routing(head.but(rung=head.rung + 1, round=0), Admitted(job=job), moment)
        case Retry(after_s=after_s):
            end = _again(stage, delivery, head, job, after_s, moment)
        case Escalate():
            ending = _ending(stage, head, job, moment, envelope.payload, outcome.facts)
            end = ends.escalation(ending, outcome.reason, outcome.proposed, outcome.confidence)
        case Reject(status=status, reason=reason) if stage.rejects is Rejects.THROUGH_ROUTING:
            end = _to_routing(head, Admitted(job=job, decided=Decided(status=status, reason=reason)), moment)
        case Reject(status=status, reason=reason, output=output):
            ending = _ending(stage, head, job, moment, envelope.payload, outcome.facts)
            end = ends.result(ending, status, reason, output)
            if outcome.ask_again:
                end = replace(end, records=(*end.records, *ends.context_request(ending, reason)))
        case _:
            assert_never(outcome)
    rows = trace_rows.of_outcome(stage.name, delivery.address, head, envelope, outcome, moment)
    return end.after(tuple(rows))


def passed_on(
    stage: Stage[In, Out], delivery: Delivery, envelope: Envelope[In], outcome: Pass[Out], moment: Moment
) -> tuple[Envelope[Out], tuple[Event, ...]]:
    """What goes on to the next stage, and the rows of this one."""
    head = trace_rows.after(stage.name, envelope.head, outcome, moment)
    rows = trace_rows.of_outcome(stage.name, delivery.address, head, envelope, outcome, moment)
    return _onward(head, outcome), tuple(rows)


def failed(
    stage: Stage[Any, Any], group: str, delivery: Delivery, envelope: Envelope[Any], error: Exception, moment: Moment
) -> Emission:
    """A bug: the record becomes a dead letter, and its job ends as failed, with the dead letter's address."""
    reason = f"{type(error).__name__} in {stage.name}; the record is the dead letter of {delivery.address}"
    outcome = Reject(Status.FAILED, reason)
    ends_here = replace(stage, rejects=Rejects.HERE)
    ended = dispatch(ends_here, delivery, envelope, outcome, moment)
    letter = dead_letter(stage.name, group, delivery, error, moment, head=envelope.head)
    return replace(ended, records=(*letter.records, *ended.records), events=(*letter.events, *ended.events))


def dead_letter(
    stage: str,
    group: str,
    delivery: Delivery,
    error: Exception,
    moment: Moment,
    *,
    head: Head | None = None,
) -> Emission:
    """A record that is given up on: key, value and headers untouched, and why, as headers."""
    address, raw = delivery.address, delivery.raw
    why = DeadLetter(
        topic=address.topic,
        partition=address.partition,
        offset=address.offset,
        group=group,
        delivery_count=moment.rounds_waited + 1,
        message=str(error)[:2000],
        stage=stage,
        error_class=type(error).__name__,
        retryable=head is not None,
        attempts=head.spent.attempts if head is not None else 0,
        tenant=head.tenant if head is not None else "",
        job_id=head.job_id if head is not None else "",
    )
    event = DeadLetterEvent.made(
        time=moment.finished_at,
        event_id=f"{address}/{stage}",
        stage=stage,
        tenant=why.tenant,
        job_id=why.job_id,
        error_class=why.error_class,
        message=why.message,
        messaging_destination_name=address.topic,
        messaging_kafka_partition=address.partition,
        messaging_kafka_offset=address.offset,
    )
    return Emission((Record(DEAD_LETTERS.name, raw.key, raw.value, (*raw.headers, *why.headers())),), (event,))


def job_of(envelope: Envelope[Any]) -> Job:
    """The job that a payload carries."""
    payload = envelope.payload
    job: Job = undecided_job(payload, envelope.head.workflow) if isinstance(payload, Submission) else payload.job
    return job


def _within_deadline(outcome: Outcome[Out], head: Head, moment: Moment) -> Outcome[Out]:
    """Nothing is retried past its deadline: a retry that would be late ends the job instead, and says why."""
    if not isinstance(outcome, Retry):
        return outcome
    due = moment.finished_at + timedelta(seconds=outcome.after_s)
    if due < head.deadline:
        return outcome
    reason = f"the deadline {head.deadline.isoformat()} comes before the next try; last reason: {outcome.reason}"
    return Reject(Status.EXPIRED, reason, facts=outcome.facts)


def _to_routing(head: Head, admitted: Admitted, moment: Moment) -> Emission:
    return Emission((flow_record(ADMITTED, Envelope[Admitted].made(head=head, payload=admitted), moment.finished_at),))


def _again(
    stage: Stage[Any, Any], delivery: Delivery, head: Head, job: Job, after_s: float, moment: Moment
) -> Emission:
    if stage.again is Again.AS_READ:
        return Emission((waiting_record(delivery.address.topic, delivery.raw, delivery, after_s, moment),))
    anew = _to_routing(head.but(round=head.round + 1), Admitted(job=job), moment)
    if after_s <= 0:
        return anew
    back = anew.records[0]
    raw = Raw(back.key, back.value, back.headers)
    return Emission((waiting_record(ADMITTED.name, raw, delivery, after_s, moment),))


def _ending(
    stage: Stage[Any, Any], head: Head, job: Job, moment: Moment, payload: Any, facts: Facts = NO_FACTS
) -> ends.Ending:
    known = vars(payload)  # asking a model for an attribute that it has not costs more than all else here
    return ends.Ending(
        stage=stage.name,
        head=head,
        job=job,
        moment=moment,
        decision=facts.decision or known.get("decision"),
        completion=known.get("completion"),
        gate=facts.gate or known.get("gate"),
    )


def _onward(head: Head, outcome: Pass[T]) -> Envelope[T]:
    return Envelope.made(head=head.but(**outcome.head) if outcome.head else head, payload=outcome.product)

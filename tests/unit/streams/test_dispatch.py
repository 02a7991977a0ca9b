"""Dispatch: every outcome of every stage has its records, and every record its reason."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from processors.outcome import Climb, Escalate, Facts, Pass, Reject, Retry
from schemas.base import JsonText
from schemas.envelope import Envelope, Head, Origin
from schemas.job import Job
from schemas.stages import (
    Accepted,
    Admitted,
    Answer,
    Attempt,
    Completion,
    Decision,
    GateDecision,
    Routed,
    Status,
    Tier,
    Usage,
    Validated,
)
from schemas.submission import origin_of, read_submission
from schemas.trace import AttemptEvent, DecisionEvent, GradeEvent, JobEvent, PayloadEvent, StageEvent
from streams.assignment import Assignment
from streams.dispatch import dead_letter, dispatch, failed
from streams.header_names import DUE, RETURN_TOPIC, ROUND
from streams.pipeline import STAGES as NAMES
from streams.pipeline import Processors, pipeline
from streams.records import Address, Delivery, Raw
from streams.stage import Moment
from streams.topics import ADMITTED, ROUTED, SPENDS
from streams.wire import returning_record

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
STAGES = {stage.name: stage for stage in pipeline(Processors(*[None] * 5), dict.fromkeys(NAMES, 8))}
MOMENT = Moment(NOW, queue_ms=2.0, duration_ms=3.0, worker="w", control_version=7, rounds_waited=0)
HEAD = Head(
    tenant="acme",
    job_id="j1",
    workflow="banking_intent",
    workflow_version="v1",
    created_at=NOW - timedelta(seconds=1),
    deadline=NOW + timedelta(minutes=1),
    trace="00-" + "a" * 32 + "-" + "b" * 16 + "-01",
    origin=Origin(topic="jobs", partition=1, offset=5, key=b"mine"),
)
JOB = Job(workflow="banking_intent", input=JsonText('{"text":"my card"}'))
DECISION = Decision(variant="small", tier=Tier.A, provider="local", model="local-small", reasons=("first",))
COMPLETION = Completion(
    attempt_id="a", model="local-small", text='{"i":1}', finish_reason="stop", prompt_sha256="0" * 64, answered_at=NOW
)
GATE = GateDecision(decision="accept", reason="0.9 >= 0.85", confidence=0.9, accept_at=0.85, climb_below=0.7)
PAYLOADS = {
    "routing": Admitted(job=JOB),
    "inference": Routed(job=JOB, decision=DECISION),
    "validation": Answer(job=JOB, decision=DECISION, completion=COMPLETION),
    "grading": Validated(job=JOB, decision=DECISION, completion=COMPLETION, output=JsonText('{"i":1}')),
}


def attempt(cost, n=1):
    return Attempt(
        attempt_id=f"acme/j1/0/0/{n}",
        n=n,
        provider="local",
        model_asked="local-small",
        prompt_sha256="0" * 64,
        request="{}",
        response="{}",
        usage=Usage(input_tokens=10, output_tokens=2),
        cost_usd=cost,
        started_at=NOW,
        total_ms=5,
    )


def delivery(stage="routing", value=b"raw", headers=()):
    topic = STAGES[stage].reads[-1].name
    return Delivery(Address(topic, 2, 40), 1000, Raw(b"key", value, headers), Assignment(topic, 2))


def run(stage, outcome, head=HEAD):
    envelope = Envelope(head=head, payload=PAYLOADS[stage])
    emission = dispatch(STAGES[stage], delivery(stage), envelope, outcome, MOMENT)
    for event in emission.events:  # rows are made without validation: here they are held to their models
        assert type(event).model_validate(event.__dict__) == event
    return emission


def only(emission):
    """The one record besides what goes with it: the close of a result, an escalation's record for the reviews stage."""
    record, *beside = emission.records
    assert [one.topic for one in beside] == {"results": ["spend"], "escalations": ["held"]}.get(record.topic, [])
    return record


def test_a_pass_goes_to_the_next_stage_with_its_step_on_the_path():
    """Routing's pass is one record on `routed`, keyed by job id, with the stage's step and the settled head."""
    record = only(run("routing", Pass(PAYLOADS["inference"], head={"rung": 1})))
    assert (record.topic, record.key) == ("routed", b"j1")
    read = ROUTED.decode(Delivery(Address("routed", 0, 0), 0, Raw(record.key, record.value), Assignment("routed", 0)))
    assert read.head.rung == 1
    assert [(step.stage, step.outcome) for step in read.head.steps] == [("routing", "pass")]
    assert dict(record.headers)["traceparent"] == HEAD.trace.encode()


def test_the_last_pass_is_the_result_with_the_producers_own_key():
    """Grading's pass ends the job: one JSON record on `results`, key job id, producer's key as a header."""
    accepted = Accepted(job=JOB, decision=DECISION, completion=COMPLETION, output=JsonText('{"i":1}'), gate=GATE)
    emission = run("grading", Pass(accepted))
    record = only(emission)
    result = json.loads(record.value)
    assert record.topic == "results"
    assert dict(record.headers)["penstock-key"] == b"mine"
    assert (result["status"], result["output"], result["confidence"]) == ("accepted", {"i": 1}, 0.9)
    assert result["timings"]["total_ms"] == 1000
    (row,) = [event for event in emission.events if isinstance(event, JobEvent)]
    assert (row.status, row.terminal, row.tier) == ("accepted", True, "A")


def test_a_climb_goes_back_to_routing_one_rung_further():
    """A climb is a record on `admitted` with rung + 1 and round 0."""
    record = only(run("grading", Climb("not sure"), HEAD.model_copy(update={"round": 2})))
    read = ADMITTED.decode(Delivery(Address("admitted", 0, 0), 0, Raw(None, record.value), Assignment("admitted", 0)))
    assert (record.topic, record.key, read.head.rung, read.head.round) == ("admitted", b"acme", 1, 0)


def test_a_retry_waits_as_the_bytes_that_were_read():
    """A retry of a stage other than inference puts the original bytes back, when due, with the round counted."""
    waiting = only(run("validation", Retry("bundle not here yet", after_s=3)))
    headers = dict(waiting.headers)
    assert waiting.topic == "retries.10s"
    assert (waiting.value, headers[RETURN_TOPIC], headers[ROUND]) == (b"raw", b"answered", b"1")
    assert int(headers[DUE]) == int((NOW + timedelta(seconds=3)).timestamp() * 1000)
    back = returning_record(Delivery(Address("retries.10s", 0, 0), 0, Raw(b"key", b"raw", waiting.headers), None))
    assert (back.topic, back.key, back.value) == ("answered", b"key", b"raw")


def test_a_retry_of_inference_is_another_round_through_routing():
    """It returns to `admitted` with round + 1: at once without a wait, over the delay topic with one."""
    at_once, later = only(run("inference", Retry("killed"))), only(run("inference", Retry("429", after_s=50)))
    assert (at_once.topic, later.topic) == ("admitted", "retries.5m")
    assert dict(later.headers)[RETURN_TOPIC] == b"admitted"
    for record in (at_once, later):
        read = ADMITTED.decode(Delivery(Address("", 0, 0), 0, Raw(None, record.value), Assignment("", 0)))
        assert (read.head.round, read.payload.job) == (1, JOB)


def test_nothing_is_retried_past_its_deadline():
    """A retry that would come after the deadline ends the job as expired, with the last reason."""
    result = json.loads(only(run("inference", Retry("HTTP 503", after_s=61))).value)
    assert result["status"] == "expired"
    assert "HTTP 503" in result["reason"]


def test_an_escalation_has_no_result_and_shows_the_job_whole():
    """A person sees input, proposal, confidence and path; the row in `jobs` is open."""
    emission = run("grading", Escalate("last rung", proposed=JsonText('{"i":2}'), confidence=0.4))
    record = only(emission)
    escalation = json.loads(record.value)
    assert record.topic == "escalations"
    assert (escalation["proposed"], escalation["job"]["input"]) == ({"i": 2}, {"text": "my card"})
    (row,) = [event for event in emission.events if isinstance(event, JobEvent)]
    assert (row.status, row.terminal) == ("escalated", False)


def test_a_rejection_by_intake_is_ended_by_routing():
    """Intake hands its rejection to routing as decided, so one stage ends the jobs that never reach a model."""
    envelope = read_submission(b'{"workflow": "w"}', origin_of("jobs", 0, 1, None, ()), NOW)
    outcome = Reject(Status.REJECTED, envelope.payload.problem)
    record = only(dispatch(STAGES["intake"], delivery("intake"), envelope, outcome, MOMENT))
    read = ADMITTED.decode(Delivery(Address("", 0, 0), 0, Raw(None, record.value), Assignment("", 0)))
    assert record.topic == "admitted"
    assert read.payload.decided.status is Status.REJECTED
    assert "input: is missing" in read.payload.decided.reason


@pytest.mark.parametrize("status", [Status.REJECTED, Status.EXPIRED, Status.OVER_BUDGET, Status.STALE_CONTEXT])
def test_a_rejection_elsewhere_is_the_terminal_record(status):
    """The status named is the result's, with the reason."""
    result = json.loads(only(run("inference", Reject(status, "because"))).value)
    assert (result["status"], result["reason"], result["output"]) == (status.value, "because", None)


def test_a_result_closes_the_job_for_routing():
    """Whatever ends a job writes, beside its result, what closes it in routing's state, keyed as `admitted` is."""
    _, close = run("validation", Reject(Status.REJECTED, "because")).records
    spend = SPENDS.decode(close.value)
    assert (close.topic, close.key, spend.kind, spend.tenant, spend.job_id) == ("spend", b"acme", "close", "acme", "j1")


def test_a_close_tells_how_long_each_rung_took_that_answered():
    """From the job's path: not the tries that brought no answer, and nothing of the other stages."""
    step = {"round": 0, "reason": "", "outcome": "pass"}
    path = [
        step | {"stage": "routing", "rung": 0, "ms": 1.5},
        step | {"stage": "inference", "rung": 0, "ms": 900.0, "outcome": "retry"},
        step | {"stage": "inference", "rung": 0, "ms": 120.5},
        step | {"stage": "grading", "rung": 0, "ms": 2.0, "outcome": "climb"},
        step | {"stage": "inference", "rung": 1, "ms": 340.0},
    ]
    head = HEAD.but(path=JsonText(json.dumps(path)))
    envelope = Envelope(head=head, payload=PAYLOADS["grading"])
    emission = dispatch(STAGES["grading"], delivery("grading"), envelope, Reject(Status.EXPIRED, "late"), MOMENT)
    spend = SPENDS.decode(emission.records[1].value)
    assert (spend.workflow, spend.workflow_version, spend.at) == (head.workflow, head.workflow_version, NOW)
    assert [(one.rung, one.ms) for one in spend.took] == [(0, 120.5), (1, 340.0)]


def test_a_bug_leaves_a_dead_letter_and_a_failed_result():
    """The record's bytes are kept untouched with the headers that say why; the job's consumer is told."""
    envelope = Envelope(head=HEAD, payload=PAYLOADS["validation"])
    taken = delivery("validation", headers=(("mine", b"1"),))
    letter, result, close = failed(STAGES["validation"], "g", taken, envelope, KeyError("x"), MOMENT).records
    headers = dict(letter.headers)
    assert (letter.topic, letter.key, letter.value, headers["mine"]) == ("dead-letters", b"key", b"raw", b"1")
    assert (headers["__dlq.errors.offset"], headers["penstock-error-class"]) == (b"40", b"KeyError")
    ended = json.loads(result.value)
    assert (result.topic, ended["status"], close.topic) == ("results", "failed", "spend")
    assert "answered/2/40" in ended["reason"]


def test_an_unreadable_record_is_one_dead_letter_and_nothing_else():
    """Nobody can be answered, so there is no result."""
    record = only(dead_letter("intake", "g", delivery(), ValueError("no JSON"), MOMENT))
    assert dict(record.headers)["__dlq.errors.message"] == b"no JSON"


def test_facts_become_rows_and_move_the_totals():
    """Attempts are rows with their raw texts; their tokens and cost are summed, an unknown price makes cost null."""
    facts = Facts(attempts=(attempt(Decimal("0.001"), 1), attempt(None, 2)))
    emission = run("inference", Reject(Status.FAILED, "x", facts=facts))
    rows = [event for event in emission.events if isinstance(event, AttemptEvent)]
    assert [row.cost_usd for row in rows] == [Decimal("0.001"), None]
    assert sum(isinstance(event, PayloadEvent) for event in emission.events) == 4
    result = json.loads(only(emission).value)
    assert (result["attempts"], result["usage"], result["cost_usd"]) == (
        2,
        {"input_tokens": 20, "output_tokens": 4},
        None,
    )


def test_every_row_of_a_job_has_its_own_id_and_a_repeat_has_the_same():
    """Event ids are derived from the job's place in the flow: distinct within an emission, equal on a repeat."""
    outcome = Pass(PAYLOADS["inference"], facts=Facts(decision=DECISION))
    first, second = run("routing", outcome), run("routing", outcome)
    ids = [event.event_id for event in first.events if not isinstance(event, PayloadEvent)]
    assert len(ids) == len(set(ids)) == 2
    assert [type(event) for event in first.events] == [StageEvent, DecisionEvent]
    assert ids == [event.event_id for event in second.events]


def test_the_gate_is_a_row_with_its_thresholds():
    """Grading's facts say what was decided and on what evidence."""
    emission = run("grading", Climb("0.5 < 0.7", facts=Facts(gate=GATE)))
    (row,) = [event for event in emission.events if isinstance(event, GradeEvent)]
    assert (row.confidence, row.accept_at, row.variant) == (0.9, 0.85, "small")

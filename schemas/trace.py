"""Trace events: one row per thing that happened, one model per table; OpenTelemetry's names where it has one.

`TABLE` is the table's name. Fields are the columns, in the order of the table's DDL; the warehouse matches by name.
"""

from datetime import datetime
from typing import ClassVar

from schemas.base import Money, Record
from schemas.dead_letter_events import DeadLetterActionEvent, DeadLetterEvent


class TraceEvent(Record):
    """What every row carries. `event_id` is derived from the job's place in the flow, so a repeat is the same row."""

    TABLE: ClassVar[str]

    time: datetime
    tenant: str
    workflow: str
    workflow_version: str
    job_id: str
    trace_id: str
    stage: str
    rung: int
    round: int
    arm: str
    control_version: int
    segments: dict[str, str]
    event_id: str


class StageEvent(TraceEvent):
    """A stage finished with a job: its outcome, its reason, how long it waited and worked, and the record's address."""

    TABLE: ClassVar[str] = "stage_events"

    outcome: str
    status: str | None = None
    reason: str
    error_class: str | None = None
    queue_ms: float
    duration_ms: float
    worker: str
    messaging_destination_name: str
    messaging_kafka_partition: int
    messaging_kafka_offset: int


class DecisionEvent(TraceEvent):
    """Routing's choice of variant and model, with its reasons in order and what they ruled out.

    `without` has the variant that would have been chosen without each constraint that decided.

    `inputs` is all that the choice rests on, as JSON: with the workflow's version and the control history it can be
    made again.
    """

    TABLE: ClassVar[str] = "decisions"

    variant: str
    tier: str
    gen_ai_provider_name: str
    gen_ai_request_model: str
    reasons: tuple[str, ...]
    skipped: tuple[str, ...]
    inputs: str = "{}"
    without: dict[str, str] = {}


class AttemptEvent(TraceEvent):
    """One provider call. Null tokens and null cost are unknown, with the reason beside them.

    Input tokens hold the cached ones, output tokens those of reasoning. `cost_source` says whose prices were taken,
    `estimated_usd` what a call probably cost that reported no usage.
    """

    TABLE: ClassVar[str] = "attempts"

    attempt_id: str
    n: int
    variant: str
    tier: str
    gen_ai_provider_name: str
    gen_ai_request_model: str
    gen_ai_response_model: str | None
    gen_ai_response_finish_reason: str | None
    gen_ai_usage_input_tokens: int | None
    gen_ai_usage_output_tokens: int | None
    gen_ai_usage_cached_tokens: int | None
    cost_usd: Money | None
    cost_unknown_because: str | None
    prompt_sha256: str
    request_sha256: str
    response_sha256: str | None
    http_response_status_code: int | None
    error_class: str | None
    error: str | None
    provider_request_id: str | None
    limits: dict[str, str]
    started_at: datetime
    total_ms: float
    gen_ai_usage_cache_write_tokens: int | None = None
    gen_ai_usage_reasoning_tokens: int | None = None
    cost_source: str | None = None
    estimated_usd: Money | None = None
    queue_ms: float = 0.0
    first_token_ms: float | None = None
    sent: bool = True


class CheckEvent(TraceEvent):
    """What one check said about one answer."""

    TABLE: ClassVar[str] = "checks"

    check_name: str
    check_version: str
    verdict: str
    evidence: str
    duration_ms: float


class GradeEvent(TraceEvent):
    """The gate's decision with the confidence and the thresholds it was taken on."""

    TABLE: ClassVar[str] = "grades"

    variant: str
    gen_ai_response_model: str
    decision: str
    reason: str
    raw_confidence: float | None
    confidence: float | None
    accept_at: float
    climb_below: float
    calibration: str
    output_sha256: str


class TargetEvent(TraceEvent):
    """A model's breaker or a key went from one state to another; the job is the one whose call it was noticed on."""

    TABLE: ClassVar[str] = "targets"

    gen_ai_provider_name: str
    target: str
    before: str
    after: str
    reason: str


class ToolCallEvent(TraceEvent):
    """A tool that a model had called, or that it was refused; `error` is what the model was told to be unknown."""

    TABLE: ClassVar[str] = "tool_calls"

    attempt_id: str
    n: int
    gen_ai_tool_call_id: str
    gen_ai_tool_name: str
    status: str
    error: str | None
    arguments_sha256: str
    response_sha256: str | None
    http_response_status_code: int | None
    tries: int
    idempotency_key: str
    started_at: datetime
    total_ms: float


class ChunkEvent(TraceEvent):
    """A piece of the context that a job brought: where it came from, and how old it was.

    `age_s` is seconds from the last change of its source to the job's acknowledgement; null when nobody said.
    """

    TABLE: ClassVar[str] = "chunks"

    snapshot_id: str
    snapshot_version: str
    chunk_id: str
    source: str
    source_updated_at: datetime | None
    indexed_at: datetime | None
    index_version: str
    score: float | None
    age_s: float | None


class JobEvent(TraceEvent):
    """A job's end (or, with the status `escalated`, its wait for a person): what v_jobs shows, one row per job."""

    TABLE: ClassVar[str] = "jobs"

    status: str
    terminal: bool
    reason: str
    confidence: float | None
    variant: str | None
    tier: str | None
    gen_ai_response_model: str | None
    input_sha256: str
    output_sha256: str | None
    attempts: int
    input_tokens: int
    output_tokens: int
    cost_usd: Money | None
    priced_cost_usd: Money
    unpriced_attempts: int
    created_at: datetime
    deadline: datetime
    total_ms: float
    snapshot_id: str | None
    snapshot_version: str | None
    source_topic: str
    source_partition: int
    source_offset: int


class PayloadEvent(Record):
    """A text that rows refer to by its hash: an input, a request, a response, an output. Equal texts are one row."""

    TABLE: ClassVar[str] = "payloads"

    sha256: str
    kind: str
    time: datetime
    text: str


class ControlEvent(Record):
    """One record of the control topic, as every worker sees it; `control_version` is its place in that history."""

    TABLE: ClassVar[str] = "control_log"

    control_version: int
    time: datetime
    key: str
    kind: str
    target: str
    name: str
    version: str
    who: str
    why: str
    git_commit: str = ""


Event = TraceEvent | PayloadEvent | ControlEvent | DeadLetterEvent | DeadLetterActionEvent
TABLES: tuple[type[Event], ...] = (
    StageEvent,
    DecisionEvent,
    AttemptEvent,
    CheckEvent,
    GradeEvent,
    ChunkEvent,
    TargetEvent,
    ToolCallEvent,
    JobEvent,
    PayloadEvent,
    ControlEvent,
    DeadLetterEvent,
    DeadLetterActionEvent,
)

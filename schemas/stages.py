"""The payloads of the main path. Each carries the job and what became of it, so any stage can end or restart it."""

from datetime import datetime
from enum import StrEnum

from schemas.base import JsonText, Money, Record
from schemas.job import Job


class Status(StrEnum):
    """How a job ended: terminal, once per job. An unknown symbol reads as failed."""

    FAILED = "failed"
    ACCEPTED = "accepted"
    ACCEPTED_UNVERIFIED = "accepted_unverified"
    ACCEPTED_AFTER_REVIEW = "accepted_after_review"
    CORRECTED = "corrected"
    FALLBACK_ANSWER = "fallback_answer"
    NEEDS_CLARIFICATION = "needs_clarification"
    STALE_CONTEXT = "stale_context"
    OVER_BUDGET = "over_budget"
    REJECTED = "rejected"
    BLOCKED = "blocked"
    DUPLICATE = "duplicate"
    EXPIRED = "expired"


class Tier(StrEnum):
    """Size class of a rung: A small, B mid, C premium."""

    A = "A"
    B = "B"
    C = "C"


class Verdict(StrEnum):
    """What a check says. Unknown is never read as allow."""

    UNKNOWN = "unknown"
    ALLOW = "allow"
    DENY = "deny"


class Submission(Record):
    """A producer's record as intake reads it: a job, or what is wrong with a record that can still be identified."""

    job: Job | None = None
    problem: str | None = None
    size: int


class Decided(Record):
    """An end that intake has decided; routing writes it, so that one stage ends jobs before inference."""

    status: Status
    reason: str


class Admitted(Record):
    """A job that intake let in (or decided); also what comes back for a climb or another round."""

    job: Job
    decided: Decided | None = None


class Decision(Record):
    """Routing's choice and why: the reasons in the order in which they were weighed.

    `without` is the variant that would have been chosen without each constraint that decided, by the constraint's name;
    `none` where there would have been none.
    """

    variant: str
    tier: Tier
    provider: str
    model: str
    reasons: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    without: dict[str, str] = {}


class Routed(Record):
    """A job with the rung it shall be tried on."""

    job: Job
    decision: Decision


class Completion(Record):
    """What the model answered, as far as later stages need it; the raw texts are in the attempts.

    `tokens` joined are the text; `logprobs` are their natural logarithms of probability. Both are empty when the
    provider gave none.
    """

    attempt_id: str
    model: str
    text: str
    finish_reason: str
    refusal: str | None = None
    prompt_sha256: str
    tokens: tuple[str, ...] = ()
    logprobs: tuple[float, ...] = ()
    answered_at: datetime
    degraded: tuple[str, ...] = ()
    """What it rests on that could not be found out, one sentence for each tool's call."""


class Answer(Record):
    """A job with a model's answer."""

    job: Job
    decision: Decision
    completion: Completion


class Transition(Record):
    """A target of calls, a model's breaker or a key, went from one state to another: noticed on a job's call."""

    provider: str
    target: str
    before: str
    after: str
    why: str


class Finding(Record):
    """What one check says about an answer, with its evidence."""

    check: str
    version: str
    verdict: Verdict
    evidence: str = ""
    ms: float = 0.0


class Validated(Record):
    """An answer whose structure is proved; `output` is the parsed value as JSON text."""

    job: Job
    decision: Decision
    completion: Completion
    output: JsonText
    findings: tuple[Finding, ...] = ()


class GateDecision(Record):
    """What the gate decided and on what evidence; confidence is null when it is unknown, never zero for that."""

    decision: str
    reason: str
    raw_confidence: float | None = None
    confidence: float | None = None
    accept_at: float
    climb_below: float
    calibration: str = ""


class Accepted(Record):
    """The end of the main path: an output that every check allowed and the gate let through."""

    job: Job
    decision: Decision
    completion: Completion
    output: JsonText
    gate: GateDecision


class Held(Record):
    """A job that waits for a person, whole, so that a verdict can end it: what `escalations` shows, and the rest."""

    job: Job
    stage: str
    reason: str
    proposed: JsonText | None = None
    decision: Decision | None = None
    completion: Completion | None = None
    gate: GateDecision | None = None
    escalation_id: str
    expires_at: datetime


class Usage(Record):
    """Tokens as the provider reported them; null is unknown, never zero for that.

    `input_tokens` is all that the model read: what came from a cache (`cache_read_tokens`) and what went into one
    (`cache_write_tokens`, of these `cache_write_1h_tokens` for an hour) is part of it. `reasoning_tokens` are part of
    `output_tokens`. `web_searches` are those that the provider ran itself and bills apart.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    web_searches: int | None = None


class ToolUse(Record):
    """One call of a tool that a model asked for: `ok` with its `response`, `failed`, or `refused` without a try.

    `arguments` is what the model wrote. `attempt_id` is the attempt that asked; `n` counts the calls of its round.
    """

    attempt_id: str
    n: int
    call_id: str
    tool: str
    arguments: str
    status: str
    error: str | None = None
    response: str | None = None
    http_status: int | None = None
    tries: int
    idempotency_key: str
    started_at: datetime
    total_ms: float


class Attempt(Record):
    """One provider call, whole: request and response raw, usage, cost, times, and how it failed if it did.

    `estimated_usd` is what a call probably cost that may have run and reported no usage. `queue_ms` it waited for a
    slot; `first_token_ms` after sending came the first piece of the answer, null where it was not read as a stream.
    What was not `sent` (no connection, no slot) reached nobody.
    """

    attempt_id: str
    n: int
    provider: str
    model_asked: str
    model_answered: str | None = None
    prompt_sha256: str
    request: str
    response: str | None = None
    http_status: int | None = None
    finish_reason: str | None = None
    error_class: str | None = None
    error: str | None = None
    usage: Usage = Usage()
    cost_usd: Money | None = None
    cost_unknown_because: str | None = None
    started_at: datetime
    total_ms: float
    provider_request_id: str | None = None
    limits: dict[str, str] = {}
    cost_source: str | None = None
    estimated_usd: Money | None = None
    queue_ms: float = 0.0
    first_token_ms: float | None = None
    sent: bool = True

"""The payloads beside the main path: escalations, people's verdicts, money, deltas, dead letters, signals."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import orjson
from pydantic import Field

from schemas.base import JsonText, Money, Record, Time
from schemas.job import Job, Name
from schemas.stages import Usage


def with_job(fields: dict[str, Any]) -> dict[str, Any]:
    """A record's fields with the input and the messages of its job as JSON values."""
    job = fields["job"]
    for part in ("input", "messages"):
        job[part] = orjson.Fragment(job[part]) if job[part] is not None else None
    return fields


class Escalation(Record):
    """A job handed to a person: what was asked, what was proposed, why nobody but a person may decide."""

    escalation_id: str
    job_id: str
    tenant: str
    workflow: str
    workflow_version: str
    stage: str
    reason: str
    rung: int
    job: Job
    proposed: JsonText | None = None
    confidence: float | None = None
    decision_path: JsonText = JsonText("[]")
    attempts: int
    cost_usd: Money | None
    escalated_at: datetime
    expires_at: datetime
    trace_id: str

    def to_json(self) -> bytes:
        """The record as people read it: input and proposed output as JSON values."""
        fields = self.model_dump(mode="json", exclude={"proposed", "cost_usd", "decision_path"})
        fields["decision_path"] = orjson.Fragment(self.decision_path)
        fields["proposed"] = orjson.Fragment(self.proposed) if self.proposed is not None else None
        fields["cost_usd"] = None if self.cost_usd is None else format(self.cost_usd, "f")
        return orjson.dumps(with_job(fields))

    @staticmethod
    def read_json(value: bytes) -> dict[str, Any]:
        """An escalation record as a plain mapping, for readers."""
        fields: dict[str, Any] = orjson.loads(value)
        return fields


class ReviewVerdict(StrEnum):
    """What a person decided about an escalation."""

    ESCALATE = "escalate"
    ACCEPT = "accept"
    CORRECT = "correct"
    REJECT = "reject"


class Review(Record):
    """A person's verdict on an escalated or sampled job."""

    escalation_id: str
    job_id: Name
    tenant: Name
    verdict: ReviewVerdict
    output: JsonText | None = None
    reviewer: str
    note: str = ""
    reviewed_at: Time


class Feedback(Record):
    """An outcome that became known later: whether an accepted answer proved right."""

    job_id: Name
    tenant: Name
    correct: bool | None = None
    score: float | None = None
    label: JsonText | None = None
    source: str
    given_at: Time


class SpendKind(StrEnum):
    """What happens to money on `spend`."""

    SETTLE = "settle"
    RESERVE = "reserve"
    EXPIRE = "expire"
    CLOSE = "close"


class Took(Record):
    """How long a rung took to answer, from when inference took the job up; milliseconds."""

    rung: int
    ms: float


class Spend(Record):
    """One movement of money and tokens for one attempt; `close` ends the job's state in routing.

    A close tells how long each rung took that answered, of which version of which workflow.
    """

    kind: SpendKind
    tenant: str
    job_id: str
    rung: int
    round: int
    attempt_id: str | None = None
    reservation: str | None = None
    amount_usd: Money | None = None
    usage: Usage = Usage()
    at: datetime
    workflow: str = ""
    workflow_version: str = ""
    took: tuple[Took, ...] = ()


class Delta(Record):
    """A piece of an answer while it is being written: best effort; a new attempt_id voids earlier text.

    The last one of a job has no text: its `status` is the job's, or `escalated`, and `accepted` says whether the text
    before it is the result. Both are null until then.
    """

    job_id: str
    attempt_id: str
    seq: Annotated[int, Field(ge=0)]
    text: str
    tenant: str = ""
    status: str | None = None
    accepted: bool | None = None

    def to_json(self) -> bytes:
        """The record as clients read it."""
        return orjson.dumps(self.__dict__)


class DeadLetter(Record):
    """Why a record was given up on; it travels as headers beside the untouched key, value and headers."""

    topic: str
    partition: int
    offset: int
    group: str
    delivery_count: int
    message: str
    stage: str
    error_class: str
    retryable: bool
    attempts: int
    tenant: str = ""
    job_id: str = ""

    def headers(self) -> tuple[tuple[str, bytes], ...]:
        """The names of the field (KIP-1191) and ours, as UTF-8."""
        return (
            ("__dlq.errors.topic", self.topic.encode()),
            ("__dlq.errors.partition", b"%d" % self.partition),
            ("__dlq.errors.offset", b"%d" % self.offset),
            ("__dlq.errors.group", self.group.encode()),
            ("__dlq.errors.delivery.count", b"%d" % self.delivery_count),
            ("__dlq.errors.message", self.message.encode("utf-8", "replace")[:8192]),
            ("penstock-stage", self.stage.encode()),
            ("penstock-error-class", self.error_class.encode()),
            ("penstock-retryable", b"true" if self.retryable else b"false"),
            ("penstock-attempts", b"%d" % self.attempts),
            ("penstock-tenant", self.tenant.encode()),
            ("penstock-job", self.job_id.encode()),
        )


class Signal(Record):
    """An approximate observation of the live view, for display and alerts; nothing is decided by it."""

    workflow: str
    kind: str
    severity: str = "info"
    detail: str
    at: datetime


class SnapshotVersion(Record):
    """The newest version of a context snapshot, so that older ones count as superseded."""

    snapshot_id: Name
    version: str
    at: Time
    """When it was taken: a job whose own was taken later is not superseded by it."""


class ContextRequest(Record):
    """Asks whoever sent a job for a newer context: the job has ended as stale_context, and is not run again."""

    job_id: str
    tenant: str
    workflow: str
    workflow_version: str
    reason: str
    snapshot_id: str
    snapshot_version: str
    job: Job
    trace_id: str
    asked_at: datetime

    def to_json(self) -> bytes:
        """The record as people read it: the job's input and messages as JSON values."""
        return orjson.dumps(with_job(self.model_dump(mode="json")))

"""What a consumer holds: the result of a job, or the escalation with which it waits for a person."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from penstock.errors import StaleContext
from schemas.stages import Status
from streams.topics import ESCALATIONS

ESCALATED = "escalated"
"""The status of a job that waits for a person: not terminal, so no member of `Status`."""

ANSWERED = frozenset(
    {
        Status.ACCEPTED,
        Status.ACCEPTED_UNVERIFIED,
        Status.ACCEPTED_AFTER_REVIEW,
        Status.CORRECTED,
        Status.FALLBACK_ANSWER,
    }
)


class _Tolerant(BaseModel):
    """A reader's model: a field that a newer Penstock adds is no error here."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Usage(_Tolerant):
    """Tokens over all attempts of the job."""

    input_tokens: int = 0
    output_tokens: int = 0


class Timings(_Tolerant):
    """Milliseconds from the broker's acknowledgement to the end, and within each stage."""

    total_ms: float = 0.0
    stages_ms: dict[str, float] = {}


class PathStep(_Tolerant):
    """One stage's decision."""

    stage: str
    rung: int = 0
    outcome: str
    reason: str = ""


class SnapshotStamp(_Tolerant):
    """Which context the answer rests on, and until when it may be used."""

    id: str
    version: str
    valid_until: datetime | None = None


class JobResult(_Tolerant):
    """How a job stands: ended (`status` is terminal), or `open` while a person has it (`status` is "escalated").

    `output` is the answer as a JSON value. Of an open job it is None, and `proposed` is what the person will see.
    `confidence` and `cost_usd` (US dollars) are None when they are unknown, never zero for that.
    """

    job_id: str
    tenant: str
    status: str
    output: Any = None
    confidence: float | None = None
    citations: tuple[str, ...] = ()
    reason: str = ""
    workflow: str
    workflow_version: str
    variant: str | None = None
    model: str | None = None
    rung: int = 0
    tier: str | None = None
    usage: Usage = Usage()
    cost_usd: Decimal | None = None
    timings: Timings = Timings()
    decision_path: tuple[PathStep, ...] = ()
    snapshot: SnapshotStamp | None = None
    attempts: int = 0
    trace_id: str
    metadata: dict[str, str] = {}
    open: bool = False
    proposed: Any = None
    escalation_id: str | None = None
    expires_at: datetime | None = None

    @property
    def accepted(self) -> bool:
        """Whether the job ended in an answer that passed the gate."""
        return self.status == Status.ACCEPTED

    @property
    def answered(self) -> bool:
        """Whether `output` is an answer that may be used: accepted, by a person too, or the workflow's fallback."""
        return self.status in ANSWERED

    def assert_fresh(self, now: datetime | None = None) -> "JobResult":
        """Return this result if the context that it rests on may still be used. Call it right before your own commit.

        Raises:
            StaleContext: the snapshot's `valid_until` has passed.
        """
        stamp, at = self.snapshot, now or datetime.now(UTC)
        if stamp is not None and stamp.valid_until is not None and at >= _utc(stamp.valid_until):
            raise StaleContext(
                f"job {self.job_id}: snapshot {stamp.id} version {stamp.version} was valid until "
                f"{_utc(stamp.valid_until).isoformat()} and it is {at.isoformat()}: take a new snapshot and submit anew"
            )
        return self

    def to_json(self) -> dict[str, Any]:
        """The result with stable keys, ready for JSON; money is a string."""
        fields = self.model_dump(mode="json")
        fields["cost_usd"] = None if self.cost_usd is None else format(self.cost_usd, "f")
        return fields


def read_result(topic: str, value: bytes) -> JobResult:
    """The record of a result, or of an escalation, as a consumer's value.

    Raises:
        ValueError: the bytes are neither.
    """
    fields = orjson.loads(value)
    if not isinstance(fields, dict):
        raise ValueError(f"expected a JSON object, found {value[:40]!r}")  # noqa: TRY004 -- bytes, not a type
    try:
        return JobResult.model_validate(_of_escalation(fields) if topic == ESCALATIONS.name else fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _of_escalation(fields: dict[str, Any]) -> dict[str, Any]:
    job = fields.get("job") or {}
    context = job.get("context")
    return {**fields, "status": ESCALATED, "open": True, "snapshot": context, "metadata": job.get("metadata") or {}}


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)

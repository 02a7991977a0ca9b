"""The result: the one terminal record of a job, as its consumer reads it."""

from datetime import datetime
from typing import Any

import orjson

from schemas.base import JsonText, Money, Record, to_the_microsecond
from schemas.stages import Status, Tier


class ResultUsage(Record):
    """Tokens over all attempts of the job."""

    input_tokens: int = 0
    output_tokens: int = 0


class Timings(Record):
    """Milliseconds from the broker's acknowledgement of the job to its end, and within the stages' processors."""

    total_ms: float
    stages_ms: dict[str, float] = {}


class SnapshotStamp(Record):
    """Which context the answer rests on and until when it may be used."""

    id: str
    version: str
    valid_until: datetime | None = None


class Result(Record):
    """How a job ended. `cost_usd` is null when the price of an attempt is unknown."""

    job_id: str
    tenant: str
    status: Status
    output: JsonText | None = None
    confidence: float | None = None
    citations: tuple[str, ...] = ()
    reason: str = ""
    workflow: str
    workflow_version: str
    variant: str | None = None
    model: str | None = None
    rung: int
    tier: Tier | None = None
    usage: ResultUsage
    cost_usd: Money | None
    timings: Timings
    decision_path: JsonText = JsonText("[]")
    snapshot: SnapshotStamp | None = None
    attempts: int
    trace_id: str
    metadata: dict[str, str] = {}

    def to_json(self) -> bytes:
        """The record as people read it: output as a JSON value, money as a string, times in ISO 8601."""
        fields = dict(self.__dict__)  # what is set apart below is all that JSON has no value for
        fields["output"] = orjson.Fragment(self.output) if self.output is not None else None
        fields["cost_usd"] = None if self.cost_usd is None else format(self.cost_usd, "f")
        fields["decision_path"] = orjson.Fragment(self.decision_path)
        fields["usage"], fields["timings"] = self.usage.__dict__, self.timings.__dict__
        fields["snapshot"] = None if self.snapshot is None else self.snapshot.model_dump(mode="json")
        return orjson.dumps(fields)

    @staticmethod
    def read_json(value: bytes) -> dict[str, Any]:
        """A result record as a plain mapping, for readers."""
        fields: dict[str, Any] = orjson.loads(value)
        return fields


def stage_times(path: list[dict[str, Any]]) -> dict[str, float]:
    """Milliseconds spent in each stage's processor, summed over rounds and rungs, from the steps of a decision path."""
    times: dict[str, float] = {}
    for step in path:
        times[step["stage"]] = to_the_microsecond(times.get(step["stage"], 0.0) + step["ms"])
    return times

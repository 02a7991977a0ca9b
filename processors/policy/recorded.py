"""What a decision rests on as JSON, and back: so that every decision on record can be made again."""

from datetime import datetime
from decimal import Decimal

import orjson

from processors.policy.request import RouteRequest
from schemas.base import JsonText
from schemas.envelope import Spent
from schemas.job import DataClass, Risk, TaskType


def as_json(request: RouteRequest, control_version: int) -> JsonText:
    """A request, and the control version that the decision saw."""
    fields = {
        "task": request.task.value,
        "risk": request.risk.value,
        "tenant": request.tenant,
        "size": request.size,
        "rung": request.rung,
        "max_latency_ms": request.max_latency_ms,
        "max_cost_usd": None if request.max_cost_usd is None else str(request.max_cost_usd),
        "spent_nano_usd": request.spent.nano_usd,
        "unpriced": request.spent.unpriced,
        "segments": request.segments,
        "created_at": request.created_at,
        "gains": request.gains,
        "data_class": request.data.value,
        "seen_ms": request.seen_ms,
        "control_version": control_version,
    }
    return JsonText(orjson.dumps(fields).decode())


def from_json(text: str) -> tuple[RouteRequest, int]:
    """The request and the control version that were recorded.

    Raises:
        ValueError: the text is no such record; KeyError: something is missing.
    """
    fields = orjson.loads(text)
    cap = fields["max_cost_usd"]
    request = RouteRequest(
        task=TaskType(fields["task"]),
        risk=Risk(fields["risk"]),
        size=fields["size"],
        rung=fields["rung"],
        max_latency_ms=fields["max_latency_ms"],
        max_cost_usd=None if cap is None else Decimal(cap),
        spent=Spent(nano_usd=fields["spent_nano_usd"], unpriced=fields["unpriced"]),
        tenant=fields["tenant"],
        segments=fields["segments"],
        created_at=datetime.fromisoformat(fields["created_at"]),
        gains=tuple(fields.get("gains", ())),
        data=DataClass(fields.get("data_class", DataClass.GENERAL)),
        seen_ms=fields.get("seen_ms", {}),
    )
    return request, fields["control_version"]

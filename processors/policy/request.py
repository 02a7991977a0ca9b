"""What a routing decision rests on, beside the workflow, the models and the switches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from schemas.envelope import NOTHING_SPENT, Spent
from schemas.job import DataClass, Risk, TaskType
from schemas.quick import quick

_EPOCH = datetime.fromtimestamp(0, UTC)
LANGUAGE = "language"
"""The segment that names an input's language."""
UNDETERMINED = "und"
"""The language of what has none that is known, as BCP 47 has it."""


@quick
@dataclass(frozen=True, slots=True)
class RouteRequest:
    """The job's limits, where on the ladder it stands, what it has spent (US dollars), how fast the rungs were."""

    task: TaskType
    risk: Risk
    size: int
    rung: int = 0
    max_latency_ms: int | None = None
    max_cost_usd: Decimal | None = None
    spent: Spent = NOTHING_SPENT
    tenant: str = ""
    segments: Mapping[str, str] = field(default_factory=dict)
    created_at: datetime = _EPOCH
    gains: tuple[float, ...] = ()
    """What the workflow's difficulty prior promises of each rung after the first; nothing where there is none."""
    data: DataClass = DataClass.GENERAL
    seen_ms: Mapping[str, float] = field(default_factory=dict)
    """By variant, the milliseconds within which 95 of its last 100 answers came; absent where too few are known."""

    @property
    def language(self) -> str:
        """The input's language as a BCP 47 tag."""
        return self.segments.get(LANGUAGE, UNDETERMINED)

"""The envelope: a head that travels with the job from stage to stage, and the payload that a stage reads or makes."""

from datetime import datetime
from decimal import Decimal
from typing import Generic, TypeVar

import orjson

from schemas.base import JsonText, Record
from schemas.job import Priority, Risk

T = TypeVar("T", bound=Record)
U = TypeVar("U", bound=Record)


class Header(Record):
    """One header of the producer's record, as it came."""

    name: str
    value: bytes | None = None


class Origin(Record):
    """Where the job came from: the address of the producer's record, its key and its headers."""

    topic: str
    partition: int
    offset: int
    key: bytes | None = None
    headers: tuple[Header, ...] = ()


class Step(Record):
    """One stage's decision on the way: the job's decision path is the list of them."""

    stage: str
    rung: int
    round: int
    outcome: str
    reason: str = ""
    ms: float


class Spent(Record):
    """What the job has used so far, over all attempts and rungs.

    `nano_usd` sums the attempts whose price is known, in 1e-9 dollars (an integer, because it travels with every
    record); `unpriced` counts the others, so that a sum is never read as complete when it is not.
    """

    attempts: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    nano_usd: int = 0
    unpriced: int = 0

    @property
    def cost_usd(self) -> Decimal:
        """The priced attempts' cost in dollars."""
        return Decimal(self.nano_usd).scaleb(-9)


NOTHING_SPENT = Spent()
NO_PATH = JsonText("[]")


class Head(Record):
    """Identity, versions, limits and history of a job. `tenant` and `job_id` together are the identity.

    `path` is the list of steps as JSON text: every stage adds one, and only who reads it takes it apart. What answers a
    job that is `shown` may be read while it is being written, before any check.
    """

    tenant: str
    job_id: str
    user: str | None = None
    session: str | None = None
    workflow: str
    workflow_version: str = ""
    rung: int = 0
    round: int = 0
    risk: Risk = Risk.NORMAL
    priority: Priority = Priority.NORMAL
    created_at: datetime
    deadline: datetime
    trace: str
    control_version: int = -1
    reservation: str | None = None
    arm: str = "baseline"
    segments: dict[str, str] = {}
    flags: tuple[str, ...] = ()
    origin: Origin
    path: JsonText = NO_PATH
    spent: Spent = NOTHING_SPENT
    shown: bool = False

    @property
    def steps(self) -> tuple[Step, ...]:
        """The decision path."""
        return tuple(Step.model_validate(step) for step in orjson.loads(self.path))

    def path_with(self, step: Step) -> JsonText:
        """The path as it is after one more step."""
        added = orjson.dumps(step.__dict__).decode()
        return JsonText(f"{self.path[:-1]},{added}]" if len(self.path) > 2 else f"[{added}]")

    @property
    def trace_id(self) -> str:
        """The 32 hex digits of the W3C traceparent that join everything about this job."""
        return self.trace[3:35]


class Envelope(Record, Generic[T]):
    """All that a processor sees of a record."""

    head: Head
    payload: T

    def carrying(self, payload: U) -> "Envelope[U]":
        """The same head around another payload."""
        return Envelope.made(head=self.head, payload=payload)

    def headed(self, **changes: object) -> "Envelope[T]":
        """The same payload under a head with these fields changed."""
        return Envelope.made(head=self.head.but(**changes), payload=self.payload)

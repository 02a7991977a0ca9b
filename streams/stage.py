"""A stage: one row of the map."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Generic, TypeVar

from processors.outcome import Processor
from schemas.base import Record
from schemas.quick import quick
from streams.topics import FlowTopic

In = TypeVar("In", bound=Record)
Out = TypeVar("Out", bound=Record)

Sleep = Callable[[float], Awaitable[None]]


class Again(Enum):
    """How a stage's retry comes back."""

    AS_READ = "the record it read, to the topic it was read from"
    ROUTED_ANEW = "the job, to routing: another round, which needs its own decision"


class Order(Enum):
    """In which order a stage works on the records of a partition."""

    ANY = "many at once, finished in any order"
    AS_READ = "one after the other, with what the partition's earlier records left in its state"


class Rejects(Enum):
    """Where a stage's rejection ends the job."""

    HERE = "the stage writes the result itself"
    THROUGH_ROUTING = "routing writes it, so that one stage ends the jobs that never reach a model"


@dataclass(frozen=True)
class Stage(Generic[In, Out]):
    """What a stage reads, what runs, where a pass goes, how many records may be in work at once.

    `passes` is None for the stage whose pass ends the job. `reads` are topics of one kind, the most urgent first. A
    stage that works in order remembers jobs in the state of each partition.
    """

    name: str
    reads: tuple[FlowTopic[In], ...]
    runs: "Processor[In, Out]"
    passes: FlowTopic[Out] | None
    concurrency: int
    again: Again = Again.AS_READ
    rejects: Rejects = Rejects.HERE
    order: Order = Order.ANY
    stuck_after_s: float | None = None
    """Seconds after which work on a record is given up and retried; None where nothing is waited for."""

    def groups(self) -> "tuple[tuple[str, FlowTopic[In]], ...]":
        """The consumer groups by name, each with the topic that it reads: one, or one for each priority.

        The group of the topic in the middle, neither urgent nor the reverse, is called as the stage.
        """
        own = self.reads[len(self.reads) // 2]
        return tuple((self.name if topic is own else f"{self.name}.{topic.name}", topic) for topic in self.reads)


@quick
@dataclass(frozen=True, slots=True)
class Moment:
    """When and where a stage worked on a record: all that a pure dispatch may not look up itself."""

    finished_at: datetime
    queue_ms: float
    duration_ms: float
    worker: str
    control_version: int
    rounds_waited: int

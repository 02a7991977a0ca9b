"""What is broken and when: derived from the seed and the number of jobs alone, so that a run can be repeated. Pure.

Moments are progress, not time: the number of jobs that have ended. `at` of a record is the number of the job that it is
published after.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import Final

STAGES: Final = ("intake", "routing", "inference", "validation", "grading")
"""What every job passes through."""
REVIEWS: Final = "reviews"
SINK: Final = "sink"
PARTS: Final = (*STAGES, REVIEWS, SINK)
INFERENCE: Final = "inference"
JOBS_FOR_A_CALL: Final = 3
"""Jobs that are kept for each call that shall be open at a later kill: of three that start at once one calls surely."""
FIRST, LAST = 0.04, 0.85
"""Shares of the jobs between which something is broken: afterwards all must be able to end."""


@dataclass(frozen=True)
class Kill:
    """kill -9 of a stage's process while inference has at least so many calls open; it is started again at once."""

    at: int
    stage: str
    open_calls: int = 0


@dataclass(frozen=True)
class Die:
    """kill -9, and its successor kills itself between the produce and the commit of its nth transaction."""

    at: int
    stage: str
    nth: int


class Restart(StrEnum):
    """How a broker goes down."""

    KILLED = "killed"
    GRACEFUL = "graceful"
    MID_TRANSACTION = "killed while a transaction is open"


@dataclass(frozen=True)
class RestartBroker:
    """The broker goes down and comes back; in mid-transaction the stage is frozen before its nth commit meanwhile."""

    at: int
    how: Restart
    stage: str
    nth: int


@dataclass(frozen=True)
class Zombie:
    """A process is frozen, another takes over, then it goes on as if nothing had happened.

    The other is a member of its own (the group moves on after the session time-out), or runs under the same name in the
    same slot, as after a move to another machine; the zombie is frozen before its nth commit then.
    """

    at: int
    stage: str
    same_slot: bool
    nth: int


@dataclass(frozen=True)
class WarehouseOutage:
    """The warehouse answers nothing for so many seconds, while the rest goes on."""

    at: int
    seconds: float


Fault = Kill | Die | RestartBroker | Zombie | WarehouseOutage


class Extra(StrEnum):
    """A record beside the jobs."""

    RANDOM_BYTES = "random bytes on jobs"
    TRUNCATED = "truncated JSON on jobs"
    ON_ROUTED = "garbage on routed"
    ON_ANSWERED = "garbage on answered"
    AGAIN = "a job published again"
    AGAIN_LATER = "a job published again after it ended"
    SAME_KEY = "an idempotency key under a second job id"


UNREADABLE: Final = (Extra.RANDOM_BYTES, Extra.TRUNCATED, Extra.ON_ROUTED, Extra.ON_ANSWERED)
DUPLICATES: Final = (Extra.AGAIN, Extra.AGAIN_LATER, Extra.SAME_KEY)


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    jobs: int
    window: int
    """Jobs that are published and have not ended, at most; as many are left for the last fault."""
    inference_kills: int
    other_kills: Sequence[str]
    deaths: Sequence[str]
    """Stages that die at the fail point."""
    broker: Sequence[Restart]
    zombies: Sequence[tuple[str, bool]]
    outages_s: Sequence[float]
    extras: int
    """Records of each kind."""
    open_calls: int
    """Calls that are open at a kill, at least."""


LONG: Final = Size(
    jobs=20_000,
    window=1_500,
    inference_kills=9,
    other_kills=(*PARTS, SINK),
    deaths=(*STAGES, INFERENCE),
    broker=tuple(Restart),
    zombies=((INFERENCE, False), ("grading", True)),
    outages_s=(60.0,),
    extras=25,
    open_calls=50,
)
SHORT: Final = Size(
    jobs=480,
    window=150,
    inference_kills=1,
    other_kills=("grading",),
    deaths=(INFERENCE,),
    broker=(Restart.KILLED,),
    zombies=(("routing", False),),
    outages_s=(),
    extras=2,
    open_calls=25,
)


@dataclass(frozen=True)
class Plan:
    """Everything that is done to one run."""

    seed: int
    size: Size
    faults: tuple[Fault, ...]
    extras: dict[int, tuple[Extra, ...]]
    """By the number of the job that they follow."""
    together: tuple[str, ...] = ()
    """Parts that share one process."""

    def most(self, number: int) -> int:
        """How many jobs may be published while this fault is carried out: those after it need some that are open."""
        later = [fault.open_calls for fault in self.faults[number + 1 :] if isinstance(fault, Kill)]
        return self.size.jobs - JOBS_FOR_A_CALL * sum(later)

    def garbage(self, number: int, extra: Extra) -> bytes:
        """The bytes of an unreadable record."""
        random = Random(f"{self.seed}/{number}/{extra}")
        if extra is Extra.TRUNCATED:
            return b'{"workflow": "banking_intent", "input": {"text": "My card'[: random.randrange(1, 56)]
        return b"\xfe" + random.randbytes(random.randrange(1, 200))


def plan(seed: int, size: Size, *, duplicates: bool, together: Sequence[str] = ()) -> Plan:
    """The plan of a seed; which parts share a process changes nothing else in it."""
    random = Random(seed)
    faults = _faults(size, random)
    random.shuffle(faults)
    last = min(LAST * size.jobs, size.jobs - size.window)
    step = (last - FIRST * size.jobs) / len(faults)
    moments = [int(FIRST * size.jobs + step * (place + random.uniform(0, 0.8))) for place in range(len(faults))]
    kinds = (*UNREADABLE, *DUPLICATES) if duplicates else UNREADABLE
    extras: dict[int, tuple[Extra, ...]] = {}
    for kind in kinds:
        for number in random.sample(range(size.jobs), size.extras):
            extras[number] = (*extras.get(number, ()), kind)
    timed = tuple(replace(fault, at=at) for fault, at in zip(faults, moments, strict=True))
    return Plan(seed, size, timed, extras, tuple(together))


def _faults(size: Size, random: Random) -> list[Fault]:
    def nth() -> int:
        return random.randrange(2, 15)

    return [
        *(Kill(0, INFERENCE, size.open_calls) for _ in range(size.inference_kills)),
        *(Kill(0, stage, size.open_calls) for stage in size.other_kills),
        *(Die(0, stage, nth()) for stage in size.deaths),
        *(RestartBroker(0, how, random.choice(STAGES), nth()) for how in size.broker),
        *(Zombie(0, stage, same_slot, nth()) for stage, same_slot in size.zombies),
        *(WarehouseOutage(0, seconds) for seconds in size.outages_s),
    ]

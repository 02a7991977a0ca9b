"""Dead letters as people deal with them: what one holds, whether it was dealt with, what becomes of it. Pure.

Whatever is done about a letter is an action: who, when, why. Its record stands beside the redriven one in the same
transaction, so that a letter is never redriven without a word, nor twice by accident.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from schemas.avro import Codec, Unreadable
from schemas.base import from_millis, sha256_hex
from schemas.dead_letter_events import DeadLetterActionEvent
from schemas.envelope import Head
from schemas.job import Job
from schemas.side import DeadLetter
from streams.assignment import Assignment
from streams.claims import without_claim
from streams.dispatch import job_of
from streams.header_names import CLAIM, CUT, header_int, header_text
from streams.records import Address, Delivery, Headers, Raw
from streams.sizes import LETTER_HEADERS
from streams.topics import FLOW, HELD, PRODUCERS, FlowTopic

_HOLD_JOBS: Final[dict[str, FlowTopic[Any]]] = {**FLOW, **PRODUCERS, HELD.name: HELD}

ACTIONS: Final = Codec("DeadLetterActionEvent", DeadLetterActionEvent)
REDRIVE: Final = "redrive"
DROP: Final = "drop"


class State(StrEnum):
    """Whether somebody has dealt with a letter."""

    OPEN = "open"
    REDRIVEN = "redriven"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: its own address, when it was written, the record that was given up on as it was, and why.

    `claim` is the sha256 under which its value lies in the claim store, if it does; `cut` names what did not fit.
    """

    address: Address
    at: datetime
    raw: Raw
    why: DeadLetter
    claim: str = ""
    cut: str = ""

    @property
    def origin(self) -> Address:
        """Where the record lay."""
        return Address(self.why.topic, self.why.partition, self.why.offset)

    def holding(self, value: bytes | None) -> "Letter":
        """The letter with the value that its claim stands for."""
        raw = replace(self.raw, value=value, headers=without_claim(self.raw.headers))
        return replace(self, raw=raw, claim="")


@dataclass(frozen=True, slots=True)
class Contents:
    """What can be read of the record: whose it is, and the job that it holds; else `problem` says what is wrong."""

    head: Head | None = None
    job: Job | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters are meant: all that agree with everything that is given."""

    stage: str | None = None
    error_class: str | None = None
    topic: str | None = None
    tenant: str | None = None
    since: datetime | None = None

    def __bool__(self) -> bool:
        return any((self.stage, self.error_class, self.topic, self.tenant, self.since))

    def fits(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        why = letter.why
        pairs = (
            (self.stage, why.stage),
            (self.error_class, why.error_class),
            (self.topic, why.topic),
            (self.tenant, why.tenant),
        )
        named = all(asked is None or asked == found for asked, found in pairs)
        return named and (self.since is None or letter.at >= self.since)


def read_letter(address: Address, timestamp_ms: int, raw: Raw) -> Letter:
    """A record of `dead-letters`, taken apart into what was given up on and why.

    Producers' headers may look like ours: what says why are the last ones of each name, behind the record's own.
    """
    first = max((n for n, (name, _) in enumerate(raw.headers) if name == LETTER_HEADERS), default=len(raw.headers))
    own, ours = raw.headers[:first], raw.headers[first:]
    why = _why(ours)
    claim = header_text(ours, CLAIM) or (header_text(own, CLAIM) if why.topic in FLOW else "")
    kept = (*own, *(pair for pair in ours if pair[0] == CLAIM))
    return Letter(address, from_millis(timestamp_ms), replace(raw, headers=kept), why, claim, header_text(ours, CUT))


def _why(ours: Headers) -> DeadLetter:
    def number(name: str) -> int:
        return header_int(ours, f"__dlq.errors.{name}", 0)

    return DeadLetter(
        topic=header_text(ours, "__dlq.errors.topic"),
        partition=number("partition"),
        offset=number("offset"),
        group=header_text(ours, "__dlq.errors.group"),
        delivery_count=number("delivery.count"),
        message=header_text(ours, "__dlq.errors.message"),
        stage=header_text(ours, "penstock-stage"),
        error_class=header_text(ours, "penstock-error-class"),
        retryable=header_text(ours, "penstock-retryable") == "true",
        attempts=header_int(ours, "penstock-attempts", 0),
        tenant=header_text(ours, "penstock-tenant"),
        job_id=header_text(ours, "penstock-job"),
    )


def contents(letter: Letter) -> Contents:
    """What the record holds, read as the stage would read it; a claimed value must be put in before."""
    topic = _HOLD_JOBS.get(letter.why.topic)
    if topic is None:
        return Contents(problem=f"records of {letter.why.topic or 'an unknown topic'} hold no job")
    if letter.cut:
        return Contents(problem=f"too large for a dead letter: {letter.cut} had to be left out")
    origin = letter.origin
    delivery = Delivery(
        origin, int(letter.at.timestamp() * 1000), letter.raw, Assignment(origin.topic, origin.partition)
    )
    try:
        envelope = topic.decode(delivery)
    except (Unreadable, ValueError, TypeError, KeyError) as error:
        return Contents(problem=str(error))
    job, problem = job_of(envelope), getattr(envelope.payload, "problem", None)
    return Contents(envelope.head, None if problem else job, problem or "")


def state_of(letter: Letter, actions: Mapping[str, DeadLetterActionEvent]) -> State:
    """Whether it was dealt with: the newest action counts."""
    action = actions.get(str(letter.address))
    if action is None:
        return State.OPEN
    return State.DROPPED if action.action == DROP else State.REDRIVEN


def new_job_id(letter: Letter, job_id: str, n: int) -> str:
    """The id of the job that a redrive makes: tells which one it does again, and is the same for the same redrive."""
    mark = sha256_hex(f"{letter.address}@{letter.at.isoformat()}#{n}")[:12]
    return f"{job_id[:179]}.redrive-{mark}"

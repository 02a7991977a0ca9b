"""The reviews stage: joins jobs that wait for a person with people's verdicts. The first verdict, or expiry, wins.

A job that can't be kept waiting, because its record provokes a bug or ends the process, ends as failed; of a verdict
that does, nothing is left but a dead letter, and the job goes on waiting.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast

import structlog

from processors.outcome import Reject
from processors.reviewing import Longer, Refused, Reviewing, expired
from schemas.avro import Codec, Unreadable
from schemas.base import to_millis
from schemas.envelope import Envelope
from schemas.review import read_review, review_codec
from schemas.side import Review
from schemas.stages import Held, Status
from schemas.state import Case
from streams import ends, trace_rows
from streams.assignment import Assignment
from streams.bugs import Bugs
from streams.dispatch import dead_letter
from streams.errors import ProcessKilled
from streams.ledger import REMEMBERED_MS
from streams.records import Address, Delivery, Emission, Raw, Record
from streams.stage import Moment
from streams.state import Changelog, PartitionState
from streams.topics import HELD, REVIEW_STATE, VERDICTS
from streams.wire import waiting_record
from streams.work import moment_of

log = structlog.get_logger(__name__)

STAGE = "reviews"
CASES = Changelog(REVIEW_STATE, Codec("Case", Case))
HELD_RECORDS = Codec("HeldRecord", Envelope[Held])
PATIENCE = 6
AGAIN_S = 10.0
"""A verdict may be read before the job that it is about: so often, and after so many seconds, it is looked at again."""
EXPIRED_AT_ONCE = 100
"""Jobs that are ended in one step when their time is over."""


def verdict(delivery: Delivery) -> Record:
    """What a person wrote on `reviews`, under whatever key, where the job that it is about waits.

    Raises:
        Unreadable: it is no verdict; the message says why.
    """
    review = read_review(delivery.raw.value)
    return Record(VERDICTS.name, review.job_id.encode(), review_codec().encode(review))


@dataclass(frozen=True)
class ReviewWork:
    """One record of a partition after the other, with the jobs that wait there."""

    decisions: Reviewing
    group: str
    worker: str
    clock: Callable[[], datetime]
    control_version: Callable[[], int]
    bugs: Bugs = field(default_factory=Bugs)

    async def __call__(self, delivery: Delivery) -> Emission:
        """What a job that begins to wait, or a verdict, causes.

        Raises:
            TooManyBugs: the limit is reached; the process stops before the commit.
        """
        try:
            emission = self._emission(delivery)
        except Unreadable as error:
            log.warning("dead letter", stage=STAGE, address=str(delivery.address), error=str(error))
            emission = dead_letter(STAGE, self.group, delivery, error, self._moment(delivery))
        except Exception as bug:  # the one place where a bug is caught
            self.bugs.count(STAGE, bug)
            log.exception("bug", stage=STAGE, address=str(delivery.address))
            emission = self._failed(delivery, bug)
        return self._with_changes(delivery.assignment, emission)

    async def give_up(self, delivery: Delivery) -> Emission:
        """What is left of a record that has ended the process too often: a dead letter, and the end of its job."""
        note = delivery.assignment.note
        killed = ProcessKilled(f"the process has ended {note.alone} times with this record alone in {STAGE}")
        log.error("given up", stage=STAGE, address=str(delivery.address), error=str(killed))
        if note.only_raw:
            return dead_letter(STAGE, self.group, delivery, killed, self._moment(delivery))
        return self._with_changes(delivery.assignment, self._failed(delivery, killed))

    def tick(self, assignment: Assignment) -> Emission | None:
        """What the passing of time causes in a partition: jobs whose time is over end, decided ones are forgotten."""
        state = _state(assignment)
        now = state.now(to_millis(self.clock()))
        over = [(key, case) for key, case in _first(state) if case.held is not None and case.expires_ms <= now]
        for key, case in _first(state):
            if case.held is None and now - case.changed_ms >= REMEMBERED_MS:
                state.drop(key)
        emissions = [self._end_overdue(assignment, key, case, now) for key, case in over]
        together = Emission(
            tuple(record for one in emissions for record in one.records),
            tuple(event for one in emissions for event in one.events),
        )
        done = self._with_changes(assignment, together)
        return done if done.records else None

    def _end_overdue(self, assignment: Assignment, key: str, case: Case, now: int) -> Emission:
        held = _held(case)
        delivery = Delivery(Address(HELD.name, assignment.partition, -1), now, Raw(None, None), assignment)
        return self._closing(delivery, key, now, self._end(delivery, held, expired(held.payload)))

    def _failed(self, delivery: Delivery, error: Exception) -> Emission:
        """A dead letter; and the end of the job, if the record is one that has just begun to wait."""
        moment, held, state = self._moment(delivery), _begins(delivery), _state(delivery.assignment)
        head = held.head if held is not None else None
        letter = dead_letter(STAGE, self.group, delivery, error, moment, head=head)
        if held is None or state.get(_key(held.head.tenant, held.head.job_id)) is not None:
            return letter
        reason = f"{type(error).__name__} in {STAGE}; the record is the dead letter of {delivery.address}"
        end, now = self._end(delivery, held, Reject(Status.FAILED, reason)), state.now(to_millis(moment.finished_at))
        closed = self._closing(delivery, _key(held.head.tenant, held.head.job_id), now, end)
        return Emission((*letter.records, *closed.records), (*letter.events, *closed.events))

    def _closing(self, delivery: Delivery, key: str, now: int, end: Emission) -> Emission:
        """The end of a job, once it is known whole: from now on the job waits no more."""
        _state(delivery.assignment).put(key, Case.made(held=None, expires_ms=0, changed_ms=now))
        return end

    def _emission(self, delivery: Delivery) -> Emission:
        if delivery.address.topic == HELD.name:
            return self._open(delivery)
        return self._decide(delivery, review_codec().decode(delivery.raw.value or b""))

    def _open(self, delivery: Delivery) -> Emission:
        held = HELD.decode(delivery)
        state, key = _state(delivery.assignment), _key(held.head.tenant, held.head.job_id)
        if state.get(key) is not None:
            moment = self._moment(delivery)
            row = trace_rows.repeated(STAGE, delivery.address, held.head, "the job waits, or was decided", moment)
            return Emission((), (row,))
        case = Case.made(
            held=delivery.raw.value,
            expires_ms=to_millis(held.payload.expires_at),
            changed_ms=state.now(to_millis(self.clock())),
        )
        state.put(key, case)
        return Emission()

    def _decide(self, delivery: Delivery, review: Review) -> Emission:
        state, key = _state(delivery.assignment), _key(review.tenant, review.job_id)
        case = state.get(key)
        moment = self._moment(delivery)
        if case is None and moment.rounds_waited < PATIENCE:  # what it is about may still be on its way
            return Emission((waiting_record(VERDICTS.name, delivery.raw, delivery, AGAIN_S, moment),))
        if case is None or case.held is None:
            was = "has been decided already" if case is not None else "does not wait for a person"
            raise Unreadable(f"job {review.job_id} of tenant {review.tenant} {was}: the verdict changes nothing")
        held = _held(case)
        if held.payload.escalation_id != review.escalation_id:
            raise Unreadable(
                f"job {review.job_id} waits under the escalation {held.payload.escalation_id}, the verdict is on "
                f"{review.escalation_id}"
            )
        verdict, now = self.decisions.decide(held, review), state.now(to_millis(self.clock()))
        match verdict:
            case Refused(reason):
                raise Unreadable(f"the verdict on job {review.job_id} can't be followed: {reason}")
            case Longer():
                longer = now + int(ends.REVIEW_TIME / timedelta(milliseconds=1))
                state.put(key, Case.made(held=case.held, expires_ms=longer, changed_ms=now))
                return Emission()
            case Reject():
                return self._closing(delivery, key, now, self._end(delivery, held, verdict))

    def _end(self, delivery: Delivery, held: Envelope[Held], outcome: Reject) -> Emission:
        moment, case = self._moment(delivery), held.payload
        head = trace_rows.after(STAGE, held.head, outcome, moment)
        ending = ends.Ending(
            stage=STAGE,
            head=head,
            job=case.job,
            moment=moment,
            decision=case.decision,
            completion=case.completion,
            gate=case.gate,
        )
        end = ends.result(ending, outcome.status, outcome.reason, outcome.output)
        rows = trace_rows.of_outcome(STAGE, delivery.address, head, held, outcome, moment)
        return Emission(end.records, (*rows, *end.events))

    def _with_changes(self, assignment: Assignment, emission: Emission) -> Emission:
        changes = _state(assignment).changes()
        return emission.changing(changes) if changes else emission

    def _moment(self, delivery: Delivery) -> Moment:
        now = self.clock()
        return moment_of(delivery, now, now, 0.0, self.worker, self.control_version())


def _first(state: PartitionState[Case]) -> list[tuple[str, Case]]:
    """The entries changed longest ago; what is due behind them has its turn at the next tick."""
    return list(itertools.islice(state.oldest(), EXPIRED_AT_ONCE))


def _begins(delivery: Delivery) -> Envelope[Held] | None:
    """The job that begins to wait with this record, if it can be read as one."""
    if delivery.address.topic != HELD.name:
        return None
    try:
        return HELD.decode(delivery)
    except Exception:  # noqa: BLE001 -- no job can be told from it
        return None


def _held(case: Case) -> Envelope[Held]:
    return HELD_RECORDS.decode(case.held or b"")


def _state(assignment: Assignment) -> PartitionState[Case]:
    assert assignment.state is not None, (
        f"{assignment.topic}/{assignment.partition}: without the state of its partition"
    )
    return cast("PartitionState[Case]", assignment.state)


def _key(tenant: str, job_id: str) -> str:
    return f"{tenant}/{job_id}"

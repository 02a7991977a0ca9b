"""What an ordered stage does beside its work: repeats are left out, and what is remembered changes with the outcome."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias, cast

from processors.outcome import Reject, Retry
from schemas.avro import Unreadable
from schemas.base import to_millis
from schemas.envelope import Envelope
from schemas.stages import Status
from schemas.state import Seen
from streams import ledger, trace_rows
from streams.dispatch import dead_letter, dispatch, job_of
from streams.ledger import Repeated
from streams.records import Delivery, Emission
from streams.sizes import MAX_CARRIED, taken
from streams.stage import Moment
from streams.state import PartitionState
from streams.topics import SPEND, SPENDS
from streams.work import StageWork

Answered: TypeAlias = Callable[[str, str, int, float, datetime], None]


def _unheard(_workflow: str, _version: str, _rung: int, _ms: float, _at: datetime) -> None:
    """For who does not ask how fast the rungs answer."""


@dataclass
class LedgerWork(StageWork):
    """Routing's work: one record of a partition after the other, with the partition's ledger.

    `answered` hears of every rung that answered a job which has ended: workflow, version, rung, milliseconds, when.
    """

    answered: Answered = _unheard

    async def __call__(self, delivery: Delivery) -> Emission:
        """The emission of one delivery, with the changes of the state that it causes.

        Raises:
            TooManyBugs: the limit is reached; the process stops before the commit.
        """
        if delivery.address.topic == SPEND.name:
            emission = self._settle(delivery)
        else:
            emission = await super().__call__(delivery)
        changes = _state(delivery).changes()
        return emission.changing(changes) if changes else emission

    async def _emission(
        self, delivery: Delivery, envelope: Envelope[Any], taken_at: datetime, started: float
    ) -> Emission:
        head, job, state = envelope.head, job_of(envelope), _state(delivery)
        refused = ledger.look(state, head, job)
        if isinstance(refused, Repeated):
            moment = self._moment(delivery, taken_at, started)
            return Emission((), (trace_rows.repeated(self.stage.name, delivery.address, head, refused.reason, moment),))
        outcome = refused or await self._outcome(envelope, taken_at)
        moment = self._moment(delivery, taken_at, started)
        emission = taken(dispatch(self.stage, delivery, envelope, outcome, moment))
        ledger.note(state, head, job, outcome, to_millis(moment.finished_at))
        return emission

    async def follow(self, delivery: Delivery, envelope: Envelope[Any]) -> Emission | None:
        """What comes of an envelope that has not been on its topic, in the partition of this delivery.

        None if it must go there first, and then nothing has changed: a repeat, a retry, what is too large to travel.
        """
        taken_at, started = self.clock(), time.perf_counter()
        head, job, state = envelope.head, job_of(envelope), _state(delivery)
        if ledger.look(state, head, job) is not None:
            return None
        outcome = await self._outcome(envelope, taken_at)
        if isinstance(outcome, Retry):
            return None
        moment = self._moment(delivery, taken_at, started)
        emission = taken(dispatch(self.stage, delivery, envelope, outcome, moment))
        if any(len(record.value or b"") > MAX_CARRIED for record in emission.records):
            return None
        ledger.note(state, head, job, outcome, to_millis(moment.finished_at))
        return emission.changing(state.changes())

    def _failed(self, delivery: Delivery, envelope: Envelope[Any], bug: Exception, moment: Moment) -> Emission:
        ended = Reject(Status.FAILED, str(bug))
        ledger.note(_state(delivery), envelope.head, job_of(envelope), ended, to_millis(moment.finished_at))
        return super()._failed(delivery, envelope, bug, moment)

    def _settle(self, delivery: Delivery) -> Emission:
        now = self.clock()
        try:
            spend = SPENDS.decode(delivery.raw.value or b"")
        except Unreadable as error:
            return dead_letter(
                self.stage.name, self.group, delivery, error, self._moment(delivery, now, time.perf_counter())
            )
        ledger.settle(_state(delivery), spend, to_millis(now))
        for one in spend.took:
            self.answered(spend.workflow, spend.workflow_version, one.rung, one.ms, spend.at)
        return Emission(urgent=False)


def _state(delivery: Delivery) -> PartitionState[Seen]:
    state = delivery.assignment.state
    assert state is not None, f"{delivery.address}: an ordered stage without the state of its partition"
    return cast("PartitionState[Seen]", state)

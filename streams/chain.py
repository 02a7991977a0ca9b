"""Stages that follow at once: what one passes, the next goes on with in the same transaction, without a topic between.

A stage that waits for nothing may follow another in its process; one that remembers, where it has the partition that
the job belongs to (streams/entering.py). Only what ends well goes this way. A retry, a bug, a record too large and a
suspect take the long way over the topic, where each has its own record: so what waits, is put away or is given up
always lies where its stage reads.
"""

from dataclasses import dataclass, field
from typing import Any

import structlog

from processors.outcome import Outcome, Pass
from schemas.base import to_millis
from schemas.envelope import Envelope
from streams.assignment import Assignment
from streams.dispatch import dispatch, passed_on
from streams.records import Delivery, Emission, Raw
from streams.sizes import taken
from streams.stage import Moment, Stage
from streams.work import StageWork

log = structlog.get_logger(__name__)


def follower(stage: Stage[Any, Any], stages: tuple[Stage[Any, Any], ...]) -> Stage[Any, Any] | None:
    """The stage among these that can go on at once with what a stage passes, if there is one."""
    return next((one for one in stages if _reads_only(one, stage) and _waits_for_nothing(one)), None)


def _reads_only(stage: Stage[Any, Any], before: Stage[Any, Any]) -> bool:
    return before.passes is not None and [topic.name for topic in stage.reads] == [before.passes.name]


def _waits_for_nothing(stage: Stage[Any, Any]) -> bool:
    return stage.stuck_after_s is None


@dataclass
class ChainedWork(StageWork):
    """A stage's work, and that of the stage that follows it, with what comes of both as one emission."""

    then: StageWork = field(kw_only=True)

    async def _caused(
        self, delivery: Delivery, envelope: Envelope[Any], outcome: Outcome[Any], moment: Moment
    ) -> Emission:
        if isinstance(outcome, Pass) and not delivery.assignment.suspects(delivery.address.offset):
            onward, rows = passed_on(self.stage, delivery, envelope, outcome, moment)
            after = await self._followed(delivery, onward)
            if after is not None:
                return after.after(rows)
        return taken(dispatch(self.stage, delivery, envelope, outcome, moment))

    async def _followed(
        self, delivery: Delivery, onward: Envelope[Any], there: Assignment | None = None
    ) -> Emission | None:
        # Nothing of the record's own waiting is the next stage's: it begins as if just appended.
        now_ms, raw = to_millis(self.clock()), Raw(delivery.raw.key, None)
        begun = Delivery(delivery.address, now_ms, raw, there or delivery.assignment)
        try:
            return await self.then.follow(begun, onward)
        except Exception as bug:  # noqa: BLE001 -- it comes again from the next stage's own record, and is counted there
            log.info("not followed at once", stage=self.then.stage.name, job_id=onward.head.job_id, error=str(bug))
            return None

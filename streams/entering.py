"""Intake goes on in routing at once, in one transaction, where routing's partition of the job is in the same process.

What routing remembers of the partition changes as if the record had just been read from `admitted`. Both partitions are
fenced by the transaction. Should routing's be gone when it is committed, its change is gone with it, and what intake
passed is written to `admitted`, where the new owner reads it; should only intake's be gone, the change stands, and the
new owner of the job's record finds that it has been routed.
"""

import functools
from dataclasses import dataclass, field
from typing import Any

from processors.outcome import Outcome, Pass
from schemas.envelope import Envelope
from streams.chain import ChainedWork
from streams.dispatch import dispatch, passed_on
from streams.records import Delivery, Emission, Entered
from streams.runner import Runner
from streams.sizes import taken
from streams.stage import Moment, Stage


@dataclass
class EnteringWork(ChainedWork):
    """A stage's work, and that of the ordered stage after it, of which `into` is the runner.

    `long_way` is the stage as it is where nothing follows at once.
    """

    into: Runner = field(kw_only=True)
    long_way: Stage[Any, Any] = field(kw_only=True)

    async def _caused(
        self, delivery: Delivery, envelope: Envelope[Any], outcome: Outcome[Any], moment: Moment
    ) -> Emission:
        if isinstance(outcome, Pass) and not delivery.assignment.suspects(delivery.address.offset):
            topic = self.then.stage.reads[0]
            there = self.into.free(topic.name, topic.key(envelope.head.but(**outcome.head)).encode())
            if there is None:
                return taken(dispatch(self.stage, delivery, envelope, outcome, moment))
            onward, rows = passed_on(self.stage, delivery, envelope, outcome, moment)
            if (after := await self._followed(delivery, onward, there)) is not None:
                otherwise = functools.partial(dispatch, self.long_way, delivery, envelope, outcome, moment)
                return after.after(rows, Entered(self.into.source, there, otherwise))
        return taken(dispatch(self.stage, delivery, envelope, outcome, moment))

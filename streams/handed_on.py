"""Records that others write, handed on to a topic of ours: one for one, in one transaction, or a dead letter."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from schemas.avro import Unreadable
from streams.dispatch import dead_letter
from streams.records import Delivery, Emission, Record
from streams.work import moment_of

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class HandedOn:
    """What a record causes: the one that `makes` makes of it, or a dead letter that says why it can't."""

    stage: str
    makes: Callable[[Delivery], Record]
    group: str
    worker: str
    clock: Callable[[], datetime]

    async def __call__(self, delivery: Delivery) -> Emission:
        """The record under its own key where it belongs, or a dead letter."""
        now = self.clock()
        try:
            return Emission((self.makes(delivery),))
        except Unreadable as error:
            log.warning("dead letter", stage=self.stage, address=str(delivery.address), error=str(error))
            moment = moment_of(delivery, now, now, 0.0, self.worker, -1)
            return dead_letter(self.stage, self.group, delivery, error, moment)

    give_up = __call__

"""How many bugs a stage may have before its process stops: better to stop than to divert everything."""

import time
from dataclasses import dataclass, field

from streams import metrics
from streams.errors import TooManyBugs

BUGS_PER_MINUTE = 50
"""More failures by bugs than this in one minute stop the process."""


@dataclass
class Bugs:
    """When a stage's last bugs were."""

    _at: list[float] = field(default_factory=list)

    def count(self, stage: str, bug: Exception) -> None:
        """Note one.

        Raises:
            TooManyBugs: there were too many within a minute.
        """
        metrics.BUGS.labels(stage).inc()
        now = time.monotonic()
        self._at = [at for at in self._at if now - at < 60] + [now]
        if len(self._at) > BUGS_PER_MINUTE:
            raise TooManyBugs(
                f"{stage}: {len(self._at)} records failed by a bug within a minute, the last by "
                f"{type(bug).__name__}: {bug}. The process stops; what was in work stays uncommitted"
            ) from bug

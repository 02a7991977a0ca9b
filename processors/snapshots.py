"""Which version of each context snapshot is the newest, as far as this process has heard."""

from collections import OrderedDict
from typing import Final

from schemas.job import Job
from schemas.side import SnapshotVersion

KNOWN: Final = 100_000
"""Snapshots whose newest version a process remembers; of more, those heard of last."""


class Snapshots:
    """The newest version of each snapshot, as far as this process has heard."""

    def __init__(self) -> None:
        self._newest: OrderedDict[str, SnapshotVersion] = OrderedDict()

    def learn(self, told: SnapshotVersion) -> None:
        """Note a version, unless a newer one is known."""
        known = self._newest.get(told.snapshot_id)
        if known is not None and known.at > told.at:
            return
        self._newest[told.snapshot_id] = told
        self._newest.move_to_end(told.snapshot_id)
        if len(self._newest) > KNOWN:
            self._newest.popitem(last=False)

    def superseding(self, job: Job) -> SnapshotVersion | None:
        """The version that has taken the place of the job's own, if one has."""
        snapshot = job.context
        newest = None if snapshot is None else self._newest.get(snapshot.id)
        if snapshot is None or newest is None:
            return None
        return newest if newest.version != snapshot.version and newest.at > snapshot.taken_at else None

"""Whether the context that a job brought may still be used: until when it holds, and whether a newer one is there."""

from datetime import datetime

from processors.outcome import NO_FACTS, Facts, Reject
from processors.snapshots import Snapshots
from processors.workflow import Workflow
from schemas.job import Job
from schemas.stages import Status


def stale(job: Job, now: datetime, snapshots: Snapshots) -> str | None:
    """Why the job's snapshot may not be used any more; nothing if it may, or if there is none."""
    snapshot = job.context
    if snapshot is None:
        return None
    if (newest := snapshots.superseding(job)) is not None:
        return (
            f"snapshot {snapshot.id} version {snapshot.version} is superseded by version {newest.version} of "
            f"{newest.at.isoformat()}; take that one and publish the job again"
        )
    until = snapshot.valid_until
    if until is None or now < until:
        return None
    return (
        f"snapshot {snapshot.id} version {snapshot.version} was valid until {until.isoformat()} "
        f"and it is {now.isoformat()}; take a new one and publish the job again"
    )


def refused(old: str, workflow: Workflow, facts: Facts = NO_FACTS) -> Reject:
    """The end of a job whose context may not be used any more, as `old` says."""
    return Reject(Status.STALE_CONTEXT, old, facts=facts, ask_again=workflow.settings.context.ask_again)

"""Whether the context that a job brought may still be used."""

from datetime import datetime

from schemas.job import Job


def stale(job: Job, now: datetime) -> str | None:
    """Why the job's snapshot may not be used any more; nothing if it may, or if there is none."""
    snapshot = job.context
    if snapshot is None or snapshot.valid_until is None:
        return None
    until = snapshot.valid_until
    if now < until:
        return None
    return (
        f"snapshot {snapshot.id} version {snapshot.version} was valid until {until.isoformat()} "
        f"and it is {now.isoformat()}; take a new one and publish the job again"
    )

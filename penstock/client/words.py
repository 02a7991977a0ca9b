"""Sentences that both clients say."""

SAFE_TO_REPEAT = "If you submit it again, do it under the same job_id: then a second result can be told for a repeat"


def late_acknowledgement(job_id: str, seconds: float) -> str:
    """The broker did not answer."""
    return (
        f"job {job_id}: no acknowledgement within {seconds:g} s: is the broker up (penstock status)? {SAFE_TO_REPEAT}"
    )


def late_result(job_id: str, seconds: float) -> str:
    """No result came."""
    return (
        f"job {job_id} has not ended within {seconds:g} s; it goes on. Is a worker running (penstock run, penstock "
        f"status)? See how far it came with: penstock trace {job_id}"
    )

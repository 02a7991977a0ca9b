"""What routing remembers of jobs, so that nothing is routed twice: repeats, idempotency keys, ends.

Compared are tenant, job id, rung and round: a climb, another round or a redrive is no repeat. A record that waits and
comes back has not gone on yet, so it is none either.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from processors.outcome import Escalate, Outcome, Pass, Reject, Retry
from schemas.avro import Codec
from schemas.envelope import Head
from schemas.job import Job
from schemas.side import Spend, SpendKind
from schemas.stages import Status
from schemas.state import Seen
from streams.state import Changelog, PartitionState
from streams.topics import DAY_MS, ROUTING_STATE

REMEMBERED_MS = 7 * DAY_MS
"""How long an ended job is remembered."""
FORGOTTEN_OPEN_MS = 37 * DAY_MS
"""How long a job that has no end is remembered: the longest deadline of 30 days, and then as long as an ended one."""
FORGOTTEN_AT_ONCE = 100
"""Entries looked at per record at most, so that a burst from a week ago holds up nothing today."""

LEDGER = Changelog(ROUTING_STATE, Codec("Seen", Seen))


@dataclass(frozen=True, slots=True)
class Repeated:
    """The record was there before: nothing follows from it but a trace row."""

    reason: str


def look(state: PartitionState[Seen], head: Head, job: Job) -> Repeated | Reject | None:
    """Whether this record may go on: a repeat is one, another job's idempotency key ends it, None is neither."""
    seen = state.get(_job_key(head.tenant, head.job_id))
    if seen is not None and seen.closed:
        return Repeated("the job has its result")
    if seen is not None and (head.rung, head.round) <= (seen.rung, seen.round):
        return Repeated(f"the job was routed before: rung {seen.rung}, round {seen.round}")
    first = state.get(_idempotency_key(head.tenant, job.idempotency_key)) if job.idempotency_key else None
    if first is not None and first.first_job != head.job_id:
        reason = (
            f"idempotency key {job.idempotency_key!r} was used before, by job {first.first_job}, whose result stands"
        )
        return Reject(Status.DUPLICATE, reason)
    return None


def note(state: PartitionState[Seen], head: Head, job: Job, outcome: Outcome[Any], wall_ms: int) -> None:
    """Remember what became of a record that was no repeat."""
    if isinstance(outcome, Retry):
        return
    now = state.now(wall_ms)
    rung = int(str(outcome.head.get("rung", head.rung))) if isinstance(outcome, Pass) else head.rung
    state.put(_job_key(head.tenant, head.job_id), Seen.made(**_NEW, rung=rung, round=head.round, changed_ms=now))
    if job.idempotency_key and isinstance(outcome, Pass | Escalate):  # a key is not used up by a job that was refused
        key = _idempotency_key(head.tenant, job.idempotency_key)
        if state.get(key) is None:
            state.put(key, Seen.made(rung=0, round=0, closed=False, first_job=head.job_id, changed_ms=now))
    _forget(state, now)


def settle(state: PartitionState[Seen], spend: Spend, wall_ms: int) -> None:
    """Take in a record of `spend`: a close ends the job."""
    if spend.kind is not SpendKind.CLOSE:
        return
    now = state.now(wall_ms)
    ended = Seen.made(rung=spend.rung, round=spend.round, closed=True, first_job=None, changed_ms=now)
    state.put(_job_key(spend.tenant, spend.job_id), ended)
    _forget(state, now)


def _forget(state: PartitionState[Seen], now: int) -> None:
    for key in list(_forgettable(state, now)):
        state.drop(key)


def _forgettable(state: PartitionState[Seen], now: int) -> Iterator[str]:
    for key, seen in itertools.islice(state.oldest(), FORGOTTEN_AT_ONCE):
        age_ms = now - seen.changed_ms
        if age_ms < REMEMBERED_MS:
            return
        if seen.closed or seen.first_job is not None or age_ms >= FORGOTTEN_OPEN_MS:
            yield key


_NEW = {"closed": False, "first_job": None}


def _job_key(tenant: str, job_id: str) -> str:
    return f"job/{tenant}/{job_id}"


def _idempotency_key(tenant: str, key: str) -> str:
    return f"key/{tenant}/{key}"

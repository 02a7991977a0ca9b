"""What must be left behind by whatever was done to the system: each promise with how often it was broken. Pure.

Nobody's word is taken for it: ends are read by a bare read_committed client, calls from the model server's own log.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from checker.calls import Call
from checker.ledger import Fault, Ledger

SHOWN: Final = 3
"""Ids that a broken promise names as examples."""
UNCOMMITTED_S: Final = 15.0
"""Seconds for which an answer may wait for its commit: an answer older than that is no longer in flight at a fault."""
ARRIVES_S: Final = 2.0
"""Seconds within which a provider takes in what a process had sent before it died."""
ARRIVES_LATE_S: Final = 15.0
"""The same where nobody was there any more when it was answered, a moment after it had begun: then who sent it was dead
before it was taken in, however busy the provider was."""
DUPLICATE: Final = "duplicate"


@dataclass(frozen=True)
class JobRow:
    """A row of v_jobs; `ends` counts the terminal rows on record."""

    status: str
    terminal: bool
    ends: int


@dataclass(frozen=True)
class Evidence:
    """What was found everywhere when nothing was in flight any more."""

    ledger: Ledger
    results: Mapping[str, Sequence[str]]
    """The statuses of each job's results."""
    escalations: Counter[str]
    calls: Mapping[str, Sequence[Call]]
    """By attempt, in the order in which they began."""
    attempts: Mapping[str, str | None]
    """Attempts on record in the warehouse, with the provider's name for the call that was recorded."""
    job_rows: Mapping[str, JobRow]
    attempts_counted: int
    """Attempts according to the results and escalations themselves."""
    dead_letters: Counter[str] = field(default_factory=Counter)
    """By the address of the record that was given up on."""
    repeated_rows: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Keys that a view shows twice, by view."""
    wrong_rows: Sequence[str] = ()
    """How the topic `traces` and the warehouse differ."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Records that are not finished, by group."""
    unsent: frozenset[str] = frozenset()
    """Attempts on record that found no connection."""
    unaccounted_usd: Decimal = Decimal(0)
    """US dollars of the calls on record, less those that the ends account for."""


@dataclass(frozen=True)
class Finding:
    """One promise: how many times it was found broken, with examples; what it counts."""

    promise: str
    broken: int
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.promise}: {self.broken} ({', '.join(self.examples)})" if self.broken else self.promise


def findings(seen: Evidence) -> list[Finding]:
    """Every promise with how often it was broken."""
    return [*_of_ends(seen), *_of_records(seen), *_of_the_warehouse(seen), *_of_calls(seen)]


def broken(seen: Evidence) -> list[str]:
    """The promises that were broken, as sentences; none is what everybody hopes for."""
    return [str(finding) for finding in findings(seen) if finding.broken]


def surplus_calls(seen: Evidence) -> list[Call]:
    """Calls beyond the one that each committed attempt needs."""
    return [call for call, _ in _with_successors(seen)]


def _of_ends(seen: Evidence) -> Iterator[Finding]:
    """Nothing is lost, nothing ends twice."""
    published, ended, open_ = set(seen.ledger.published), set(seen.results), set(seen.escalations)
    yield _finding("jobs without an end", published - ended - open_)
    yield _finding("jobs with more than one result", (job for job, found in seen.results.items() if len(found) > 1))
    yield _finding("jobs with more than one open escalation", _repeated(seen.escalations))
    yield _finding("jobs with a result and an open escalation", ended & open_)
    yield _finding("ends of jobs that nobody published", (ended | open_) - published)
    done = {job for job, found in seen.results.items() if DUPLICATE not in found} | open_
    runs = {"+".join(sorted(jobs)): len(jobs & done) for jobs in seen.ledger.one_key}
    yield _finding(
        "idempotency keys of which not exactly one job ran", (jobs for jobs, count in runs.items() if count != 1)
    )
    keyed = frozenset[str]().union(*seen.ledger.one_key)
    yield _finding("jobs called duplicates that are none", ended - done - keyed)


def _of_records(seen: Evidence) -> Iterator[Finding]:
    """What can't be read is one dead letter, what can is none; nothing stays behind; nobody died unasked."""
    unreadable, dead = set(seen.ledger.unreadable), set(seen.dead_letters)
    yield _finding("unreadable records without a dead letter", unreadable - dead)
    yield _finding("dead letters more than once", _repeated(seen.dead_letters))
    yield _finding("dead letters of records that can be read", dead - unreadable)
    waiting = tuple(f"{count} of {group}" for group, count in seen.waiting.items())
    yield Finding("records that still wait", sum(seen.waiting.values()), waiting)
    yield Finding("processes that ended by themselves", len(seen.ledger.deaths), tuple(seen.ledger.deaths))


def _of_the_warehouse(seen: Evidence) -> Iterator[Finding]:
    """Topics and warehouse tell the same story, once."""
    yield _finding("jobs that v_jobs lacks", set(seen.ledger.published) - set(seen.job_rows))
    yield _finding("jobs that v_jobs shows otherwise than the topics do", _misreported(seen))
    yield _finding(
        "rows that a view shows twice", (f"{v} {key}" for v, keys in seen.repeated_rows.items() for key in keys)
    )
    yield Finding("kinds of rows that the warehouse has wrong", len(seen.wrong_rows), tuple(seen.wrong_rows))
    yield Finding("attempts counted by ends but not on record", abs(seen.attempts_counted - len(seen.attempts)))
    apart = seen.unaccounted_usd
    yield Finding("US dollars that ends and calls disagree on", int(apart != 0), (str(apart),) if apart else ())


def _of_calls(seen: Evidence) -> Iterator[Finding]:
    """No call is made again whose answer was committed; what is made again was in flight at a fault."""
    lacking = set(seen.attempts) - seen.unsent - set(seen.calls)
    yield _finding("attempts on record that the model server never got", lacking)
    yield _finding("answers on record that the model server never gave", _invented(seen))
    yield _finding("calls made again after their answer", _needless(seen))
    yield _finding("surplus calls that no fault explains", (call.attempt_id for call in _unexplained(seen)))
    beyond = max(0, len(surplus_calls(seen)) - _bound(seen))
    yield Finding("surplus calls beyond those that could be in flight", beyond)


def _own(seen: Evidence, attempt_id: str) -> Call | None:
    """The call whose outcome is on record: by the provider's name for it; a call without an answer has none."""
    calls = seen.calls.get(attempt_id, ())
    named = seen.attempts[attempt_id]
    if named is None:
        return calls[-1] if calls else None
    return next((call for call in calls if f"req_{call.call_id}" == named), None)


def _invented(seen: Evidence) -> Iterator[str]:
    return (name for name in seen.attempts if name in seen.calls and _own(seen, name) is None)


def _needless(seen: Evidence) -> Iterator[str]:
    """Attempts with a call that began after the one on record had been answered."""
    for name in seen.attempts:
        own = _own(seen, name)
        if own is not None and own.ended is not None and any(call.began > own.ended for call in seen.calls[name]):
            yield name


def _with_successors(seen: Evidence) -> Iterator[tuple[Call, float]]:
    """Each surplus call, and when the same attempt was called the next time (never is infinity)."""
    for attempt_id, calls in seen.calls.items():
        own = _own(seen, attempt_id) if attempt_id in seen.attempts else None
        nexts = [call.began for call in calls[1:]] + [math.inf]
        yield from ((call, again) for call, again in zip(calls, nexts, strict=True) if call is not own)


def _unexplained(seen: Evidence) -> Iterator[Call]:
    """Calls that were made again although nothing was broken while they or their answers were in flight."""
    for call, again in _with_successors(seen):
        if not any(_explains(fault, call, again) for fault in seen.ledger.faults):
            yield call


def _explains(fault: Fault, call: Call, again: float) -> bool:
    until = math.inf if call.ended is None else call.ended + UNCOMMITTED_S
    arrives_s = ARRIVES_LATE_S if call.ended is not None and not call.answered else ARRIVES_S
    return (
        fault.repeats_calls and call.began <= fault.ended + arrives_s and again >= fault.began and until >= fault.began
    )


def _bound(seen: Evidence) -> int:
    """A slot of inference is free again only when its outcome is committed, so a fault repeats no more than these."""
    return sum(fault.repeats_calls for fault in seen.ledger.faults) * seen.ledger.in_flight


def _misreported(seen: Evidence) -> set[str]:
    expected = {job: JobRow(found[0], terminal=True, ends=1) for job, found in seen.results.items()}
    expected |= dict.fromkeys(seen.escalations, JobRow("escalated", terminal=False, ends=0))
    return {job_id for job_id, row in seen.job_rows.items() if expected.get(job_id) != row}


def _repeated(counted: Counter[str]) -> set[str]:
    return {name for name, count in counted.items() if count > 1}


def _finding(promise: str, names: Iterable[str]) -> Finding:
    found = sorted(names)
    return Finding(promise, len(found), tuple(found[:SHOWN]))

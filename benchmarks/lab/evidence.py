"""What a run with kills must leave behind, checked from the outside: topics, call log, warehouse. Pure.

Nobody's word is taken for it: ends are read by a bare read_committed client, calls from the model server's own log.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lab.model_server import Call

SHOWN: Final = 3
"""Ids that a broken promise names as examples."""


@dataclass(frozen=True)
class Evidence:
    """What was published, and what was found everywhere when nothing was in flight any more."""

    published: Sequence[str]
    results: Counter[str]
    escalations: Counter[str]
    calls: Mapping[str, Sequence[Call]]
    """By attempt, in the order in which they began."""
    attempts: Counter[str]
    """Attempts on record in the warehouse, as stored: repeats count."""
    job_rows: Mapping[str, tuple[bool, int]]
    """Rows of v_jobs: whether the job has ended, and how many ends are on record."""
    attempts_counted: int
    """Attempts according to the results and escalations themselves."""
    kills: Sequence[float] = ()
    """When a process was dead, in seconds since 1970."""
    in_flight_limit: int = 256
    """Calls that one process has open at most."""


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
    published = set(seen.published)
    ended, open_ = set(seen.results), set(seen.escalations)
    return [
        _finding("jobs without an end", published - ended - open_),
        _finding("jobs with more than one result", _repeated(seen.results)),
        _finding("jobs with more than one open escalation", _repeated(seen.escalations)),
        _finding("jobs with a result and an open escalation", ended & open_),
        _finding("ends of jobs that nobody published", (ended | open_) - published),
        _finding("jobs that v_jobs lacks", published - set(seen.job_rows)),
        _finding("jobs that v_jobs shows otherwise than the topics do", _misreported(seen)),
        _finding("attempts on record more than once", _repeated(seen.attempts)),
        _finding("attempts on record that the model server never got", set(seen.attempts) - set(seen.calls)),
        Finding("attempts counted by ends but not on record", abs(seen.attempts_counted - len(seen.attempts))),
        _finding("surplus calls that no kill explains", (call.attempt_id for call in _unexplained(seen))),
        Finding("surplus calls beyond those that could be in flight", max(0, len(surplus_calls(seen)) - _bound(seen))),
    ]


def broken(seen: Evidence) -> list[str]:
    """The promises that were broken, as sentences; none is what everybody hopes for."""
    return [str(finding) for finding in findings(seen) if finding.broken]


def surplus_calls(seen: Evidence) -> list[Call]:
    """Calls beyond the one that each committed attempt needs: of several for one attempt, the last is its own."""
    return [call for call, _ in _with_successors(seen)]


def _with_successors(seen: Evidence) -> Iterator[tuple[Call, float]]:
    """Each surplus call, and when the same attempt was called the next time (never is infinity)."""
    for attempt_id, calls in seen.calls.items():
        nexts = [call.began for call in calls[1:]] + [math.inf]
        pairs = list(zip(calls, nexts, strict=True))
        yield from pairs[:-1] if attempt_id in seen.attempts else pairs


def _unexplained(seen: Evidence) -> Iterator[Call]:
    """Calls that were made again although nothing died in between."""
    for call, again in _with_successors(seen):
        if not any(call.began <= kill <= again for kill in seen.kills):
            yield call


def _bound(seen: Evidence) -> int:
    """A slot of inference is free again only when its outcome is committed, so a kill repeats no more than these."""
    return len(seen.kills) * seen.in_flight_limit


def _misreported(seen: Evidence) -> set[str]:
    expected = dict.fromkeys(seen.results, (True, 1))
    expected |= dict.fromkeys(seen.escalations, (False, 0))
    return {job_id for job_id, row in seen.job_rows.items() if expected.get(job_id) != row}


def _repeated(counted: Counter[str]) -> set[str]:
    return {name for name, count in counted.items() if count > 1}


def _finding(promise: str, names: Iterable[str]) -> Finding:
    found = sorted(names)
    return Finding(promise, len(found), tuple(found[:SHOWN]))

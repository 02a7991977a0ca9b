"""The checker can fail: each broken promise is found, and named, in doctored evidence."""

from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest
from checker.calls import Call
from checker.evidence import Evidence, JobRow, broken, surplus_calls
from checker.ledger import Ledger, kill
from checker.traces import wrong_rows

KILL = 100.0
LEDGER = Ledger(
    published=["a", "b", "c", "d"],
    one_key=[frozenset({"b", "d"})],
    unreadable=["jobs/0/7"],
    faults=[kill(KILL)],
)
SOUND = Evidence(
    ledger=LEDGER,
    results={"a": ["accepted"], "b": ["accepted"], "d": ["duplicate"]},
    escalations=Counter({"c": 1}),
    calls={
        "a/0/0/1": [Call("a/0/0/1", 90.0, call_id="1"), Call("a/0/0/1", 103.0, 104.0, "4")],
        "b/0/0/1": [Call("b/0/0/1", 91.0, 92.0, "2")],
        "c/0/0/1": [Call("c/0/0/1", 104.0, 105.0, "3")],
    },
    attempts={"a/0/0/1": "req_4", "b/0/0/1": "req_2", "c/0/0/1": None},
    job_rows={
        "a": JobRow("accepted", terminal=True, ends=1),
        "b": JobRow("accepted", terminal=True, ends=1),
        "c": JobRow("escalated", terminal=False, ends=0),
        "d": JobRow("duplicate", terminal=True, ends=1),
    },
    attempts_counted=3,
    dead_letters=Counter({"jobs/0/7": 1}),
)


def without(mapping, *keys):
    return {key: value for key, value in mapping.items() if key not in keys}


def test_a_call_of_the_dead_may_be_taken_in_late():
    """Sent before the kill, taken in by a busy provider seconds after it: nobody was there when it was answered."""

    def evidence(*, answered):
        late = Call("b/0/0/1", KILL + 5, KILL + 5.1, "9", answered=answered)
        return replace(SOUND, calls=SOUND.calls | {"b/0/0/1": [late, Call("b/0/0/1", KILL + 9, KILL + 10, "2")]})

    assert broken(evidence(answered=False)) == []
    assert broken(evidence(answered=True)) == ["surplus calls that no fault explains: 1 (b/0/0/1)"]


def test_sound_evidence_breaks_nothing():
    """A call that was open at the kill and was made again is what nobody can avoid."""
    assert broken(SOUND) == []
    assert [call.call_id for call in surplus_calls(SOUND)] == ["1"]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"ledger": replace(LEDGER, published="abcde")}, ["jobs without an end", "jobs that v_jobs lacks"]),
        ({"results": SOUND.results | {"a": ["accepted"] * 2}}, ["jobs with more than one result"]),
        ({"escalations": Counter({"c": 2})}, ["jobs with more than one open escalation"]),
        (
            {"results": SOUND.results | {"c": ["accepted"]}},
            ["jobs with a result and an open escalation"],
        ),
        ({"ledger": replace(LEDGER, published="bcd")}, ["ends of jobs that nobody published"]),
        (
            {
                "results": SOUND.results | {"d": ["accepted"]},
                "job_rows": SOUND.job_rows | {"d": SOUND.job_rows["a"]},
            },
            ["idempotency keys of which not exactly one job ran"],
        ),
        ({"ledger": replace(LEDGER, one_key=())}, ["jobs called duplicates that are none"]),
        ({"dead_letters": Counter()}, ["unreadable records without a dead letter"]),
        ({"dead_letters": Counter({"jobs/0/7": 2})}, ["dead letters more than once"]),
        ({"ledger": replace(LEDGER, unreadable=())}, ["dead letters of records that can be read"]),
        ({"waiting": {"routing": 2}}, ["records that still wait"]),
        ({"ledger": replace(LEDGER, deaths=["routing"])}, ["processes that ended by themselves"]),
        ({"job_rows": without(SOUND.job_rows, "b")}, ["jobs that v_jobs lacks"]),
        (
            {"job_rows": SOUND.job_rows | {"a": JobRow("accepted", terminal=True, ends=2)}},
            ["jobs that v_jobs shows otherwise than the topics do"],
        ),
        (
            {"job_rows": SOUND.job_rows | {"a": JobRow("failed", terminal=True, ends=1)}},
            ["jobs that v_jobs shows otherwise than the topics do"],
        ),
        ({"repeated_rows": {"v_calls": ["a/0/0/1"]}}, ["rows that a view shows twice"]),
        ({"wrong_rows": ["jobs: 1 of 2 rows not stored"]}, ["kinds of rows that the warehouse has wrong"]),
        ({"attempts_counted": 4}, ["attempts counted by ends but not on record"]),
        ({"unaccounted_usd": Decimal("0.000001")}, ["US dollars that ends and calls disagree on"]),
        (
            {"attempts": SOUND.attempts | {"b/1/0/1": None}, "attempts_counted": 4},
            ["attempts on record that the model server never got"],
        ),
        (
            {"attempts": SOUND.attempts | {"b/0/0/1": "req_9"}},
            ["answers on record that the model server never gave"],
        ),
        (
            {"calls": SOUND.calls | {"b/0/0/1": [Call("b/0/0/1", 91.0, 92.0, "2"), Call("b/0/0/1", 103.0)]}},
            ["calls made again after their answer", "surplus calls that no fault explains"],
        ),
        (
            {"calls": SOUND.calls | {"b/0/0/1": [Call("b/0/0/1", 103.0), Call("b/0/0/1", 104.0, call_id="2")]}},
            ["surplus calls that no fault explains"],
        ),
        (
            {"calls": SOUND.calls | {"b/0/0/1": [Call("b/0/0/1", 91.0), Call("b/0/0/1", 92.0, call_id="2")]}},
            ["surplus calls that no fault explains"],
        ),
        (
            {"calls": SOUND.calls | {"b/0/0/1": [Call("b/0/0/1", 10.0, 20.0), Call("b/0/0/1", 102.0, call_id="2")]}},
            ["surplus calls that no fault explains"],
        ),
        ({"ledger": replace(LEDGER, in_flight=0)}, ["surplus calls beyond those that could be in flight"]),
        (
            {"ledger": replace(LEDGER, faults=[replace(kill(KILL), repeats_calls=False)])},
            ["surplus calls that no fault explains", "surplus calls beyond those that could be in flight"],
        ),
    ],
)
def test_each_broken_promise_is_found(change, found):
    """What is wrong in one place is reported under its own name."""
    assert [sentence.partition(":")[0] for sentence in broken(replace(SOUND, **change))] == found


@pytest.mark.parametrize(
    ("traced", "stored", "found"),
    [
        ({"x": 1, "y": 1}, {"x": 1, "y": 1}, []),
        ({"x": 2, "y": 1}, {"x": 1, "y": 1}, ["jobs: 1 of 2 rows traced more than once"]),
        ({"x": 1, "y": 1}, {"x": 1}, ["jobs: 1 of 2 rows not stored"]),
        ({"x": 1, "y": 1}, {"x": 2, "y": 1}, ["jobs: 1 of 2 rows stored more than once"]),
        ({"x": 1}, {"x": 1, "z": 1}, ["jobs: 1 of 1 rows stored but never traced"]),
    ],
)
def test_rows_lost_or_doubled_are_found(traced, stored, found):
    """The warehouse holds what was traced, each row once."""
    assert wrong_rows({"jobs": Counter(traced)}, {"jobs": Counter(stored)}) == found

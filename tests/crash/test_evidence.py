"""The checks of the crash tests can fail: each broken promise is found, and named, in doctored evidence."""

from collections import Counter
from dataclasses import replace

import pytest
from lab.collecting import _wrong_rows
from lab.evidence import Evidence, broken, surplus_calls
from lab.model_server import Call

KILL = 100.0

SOUND = Evidence(
    published=["a", "b", "c"],
    results=Counter({"a": 1, "b": 1}),
    escalations=Counter({"c": 1}),
    calls={
        "a/0/0/1": [Call("a/0/0/1", 90.0), Call("a/0/0/1", 103.0, 104.0)],
        "b/0/0/1": [Call("b/0/0/1", 91.0, 92.0)],
        "c/0/0/1": [Call("c/0/0/1", 104.0, 105.0)],
    },
    attempts=Counter({"a/0/0/1": 1, "b/0/0/1": 1, "c/0/0/1": 1}),
    job_rows={"a": (True, 1), "b": (True, 1), "c": (False, 0)},
    attempts_counted=3,
    kills=[KILL],
)


def test_sound_evidence_breaks_nothing():
    """A call that was open at the kill and was made again is what nobody can avoid."""
    assert broken(SOUND) == []
    assert [call.attempt_id for call in surplus_calls(SOUND)] == ["a/0/0/1"]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"published": ["a", "b", "c", "d"]}, ["jobs without an end", "jobs that v_jobs lacks"]),
        ({"results": Counter({"a": 2, "b": 1})}, ["jobs with more than one result"]),
        ({"escalations": Counter({"c": 2})}, ["jobs with more than one open escalation"]),
        (
            {"results": Counter({"a": 1, "b": 1, "c": 1})},
            ["jobs with a result and an open escalation"],
        ),
        (
            {"published": ["a", "b"], "job_rows": {"a": (True, 1), "b": (True, 1)}},
            ["ends of jobs that nobody published"],
        ),
        ({"job_rows": {"a": (True, 1), "c": (False, 0)}}, ["jobs that v_jobs lacks"]),
        (
            {"job_rows": {"a": (True, 2), "b": (True, 1), "c": (False, 0)}},
            ["jobs that v_jobs shows otherwise than the topics do"],
        ),
        ({"attempts": SOUND.attempts + Counter({"a/0/0/1": 1})}, ["attempts on record more than once"]),
        (
            {"attempts": SOUND.attempts + Counter({"b/1/0/1": 1}), "attempts_counted": 4},
            ["attempts on record that the model server never got"],
        ),
        ({"attempts_counted": 4}, ["attempts counted by ends but not on record"]),
        (
            {"calls": SOUND.calls | {"b/0/0/1": [Call("b/0/0/1", 101.0), Call("b/0/0/1", 102.0)]}},
            ["surplus calls that no kill explains"],
        ),
        (
            {"calls": SOUND.calls | {"b/0/0/1": [Call("b/0/0/1", 91.0), Call("b/0/0/1", 92.0)]}},
            ["surplus calls that no kill explains"],
        ),
        ({"in_flight_limit": 0}, ["surplus calls beyond those that could be in flight"]),
        (
            {"kills": []},
            ["surplus calls that no kill explains", "surplus calls beyond those that could be in flight"],
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
    assert _wrong_rows({"jobs": Counter(traced)}, {"jobs": Counter(stored)}) == found

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from processors import snapshots
from processors.snapshots import Snapshots
from schemas.base import json_text
from schemas.job import Job, Snapshot
from schemas.side import SnapshotVersion

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def version(number, snapshot_id="s"):
    return SnapshotVersion(snapshot_id=snapshot_id, version=str(number), at=NOW + timedelta(seconds=number))


def job(number, snapshot_id="s"):
    taken = NOW + timedelta(seconds=number)
    context = Snapshot(id=snapshot_id, version=str(number), taken_at=taken, sha256="0" * 64)
    return Job(workflow="w", input=json_text({}), context=context)


@given(st.permutations(range(6)), st.integers(0, 7))
def test_in_whatever_order_versions_are_heard_the_newest_counts(order, own):
    """A job is superseded by the newest version, if that was taken later than its own."""
    known = Snapshots()
    for number in order:
        known.learn(version(number))
    newest = known.superseding(job(own))
    assert newest == (version(5) if own < 5 else None)


def test_what_is_not_named_is_not_superseded():
    """Jobs without a context, and contexts that nobody spoke of, go on."""
    known = Snapshots()
    known.learn(version(5, "other"))
    assert known.superseding(job(1)) is None
    assert known.superseding(Job(workflow="w", input=json_text({}))) is None


def test_of_very_many_those_heard_of_last_are_remembered(monkeypatch):
    """Memory is bounded; being told again keeps a snapshot."""
    monkeypatch.setattr(snapshots, "KNOWN", 2)
    known = Snapshots()
    for name in ("a", "b", "a", "c"):
        known.learn(version(5, name))
    assert [known.superseding(job(1, name)) is not None for name in "abc"] == [True, False, True]

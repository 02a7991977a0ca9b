"""What of a batch is still ours: an outcome counts as far as the partitions that it concerns are."""

import pytest

from streams.assignment import Assignment
from streams.batch import batch_of
from streams.records import Address, Delivery, Emission, Entered, Finished, Raw, Record

ROUTED, ADMITTED = Record("routed", b"k", b"routed"), Record("admitted", b"k", b"admitted")


@pytest.fixture
def partitions():
    """Give a partition of jobs with one record in work, and the one of routing that it went on in."""
    jobs, admitted = Assignment("jobs", 0), Assignment("admitted", 3)
    jobs.begin_at(5)
    jobs.start(5)
    admitted.begin_at(9)
    return jobs, admitted


def batch(jobs, admitted):
    """A job that went on in routing at once."""
    entered = Entered("routing", admitted, lambda: Emission((ADMITTED,)))
    delivery = Delivery(Address("jobs", 0, 5), 0, Raw(None, None), jobs)
    return batch_of([("intake", Finished(delivery, Emission((ROUTED,), entered=entered)))])


@pytest.mark.parametrize(
    ("gone", "written", "committed"),
    [
        ((), ["routed"], {"intake": ["jobs"], "routing": ["admitted"]}),
        (("admitted",), ["admitted"], {"intake": ["jobs"]}),
        (("jobs",), ["routed"], {"routing": ["admitted"]}),
        (("jobs", "admitted"), [], {}),
    ],
)
def test_what_is_written_follows_from_whose_partitions_are_left(partitions, gone, written, committed):
    """Without routing's partition the job goes over the topic; without its own, what routing remembers still counts."""
    found = batch(*partitions)
    for partition in partitions:
        partition.live = partition.topic not in gone
    owned = found.owned()
    assert [record.topic for record in owned.records()] == written
    assert {commit.source: [one.topic for one in commit.positions] for commit in owned.commits} == committed


def test_both_groups_commit_where_they_stand(partitions):
    """The job's record is finished by the transaction; routing has read nothing, and stands where it stood."""
    positions = {
        one.topic: where.base for commit in batch(*partitions).commits for one, where in commit.positions.items()
    }
    assert positions == {"jobs": 6, "admitted": 9}

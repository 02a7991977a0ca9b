"""What kill -9 and SIGTERM leave behind, on real Kafka, seen by bare clients and in the model server's own log."""

import pytest
from checker.evidence import broken
from checker.ledger import Ledger, kill
from lab.children import wait_for

from streams.pipeline import REVIEWS, STAGES
from streams.worker import DRAIN_S

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

SLOW_MS = 1_000
QUICK_MS = 20
BUT_INFERENCE = ("intake", "routing", "validation", "grading", "reviews", "sink")
OPEN_CALLS = 50


def until_calls_are_open(site, *alive):
    """Wait until the model server is at work on many calls at once."""
    wait_for(lambda: site.models.open_calls() >= OPEN_CALLS, f"{OPEN_CALLS} open calls", alive=alive)


@pytest.mark.parametrize(
    ("jobs", "victim", "others", "kills"),
    [
        pytest.param(300, (), (), 3, id="the only process, three times"),
        pytest.param(300, ("inference",), BUT_INFERENCE, 1, id="inference alone"),
    ],
)
def test_no_job_is_lost_or_ended_twice_by_kill_9(site, jobs, victim, others, kills):
    """Jobs end once each, and only calls that were open at a kill are made again."""
    site.models.set_latency(SLOW_MS)
    rest = (site.start(*others),) if others else ()
    worker = site.start(*victim)
    published = site.publish(jobs)
    dead = []
    for _ in range(kills):
        until_calls_are_open(site, worker, *rest)
        dead.append(kill(worker.kill()))
        worker = site.start(*victim)
    site.models.set_latency(QUICK_MS)
    site.wait_for_ends(jobs, alive=(worker, *rest))
    assert not broken(site.evidence(Ledger(published, faults=dead), alive=(worker, *rest)))


def test_sigterm_finishes_what_is_in_flight(site):
    """A worker told to end calls nobody twice, ends with 0 in time, and its successor goes on where it stopped."""
    site.models.set_latency(SLOW_MS)
    worker = site.start()
    published = site.publish(200)
    until_calls_are_open(site, worker)
    assert worker.terminate(DRAIN_S) == 0
    site.models.set_latency(QUICK_MS)
    successor = site.start()
    site.wait_for_ends(len(published), alive=(successor,))
    seen = site.evidence(Ledger(published), alive=(successor,))
    assert not broken(seen)
    assert all(len(calls) == 1 for calls in seen.calls.values())
    assert seen.calls.keys() == seen.attempts.keys()


@pytest.mark.parametrize("during_insert", [False, True], ids=["between inserts", "during an insert"])
def test_no_row_is_lost_or_doubled_by_kill_9_of_the_sink(site, stack, during_insert):
    """What the stages traced is in the warehouse, each row once, although the sink died on the way."""
    site.models.set_latency(QUICK_MS)
    stages = site.start(*STAGES, REVIEWS)
    sink = site.start("sink")
    published = site.publish(200)
    wait_for(lambda: site.rows("jobs") >= 50, "some rows of jobs", alive=(stages, sink))
    if during_insert:
        with stack.paused("warehouse"):  # the sink's insert waits for an answer that never comes
            site.wait_for_ends(len(published), alive=(stages, sink))
            sink.kill()
    else:
        sink.kill()
        site.wait_for_ends(len(published), alive=(stages,))
    sink = site.start("sink")
    assert not broken(site.evidence(Ledger(published), alive=(stages, sink)))

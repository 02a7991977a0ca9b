import pytest

from penstock.client import ClientClosed, ResultsLost
from penstock.client.mailbox import Mailbox
from penstock.client.result import JobResult


def result(job_id, tenant="t", status="accepted"):
    return JobResult(job_id=job_id, tenant=tenant, status=status, workflow="w", workflow_version="v", trace_id="0" * 32)


def test_each_result_goes_to_those_who_wait_for_it():
    """Many wait at once, several for the same job, and each gets its own."""
    mailbox = Mailbox(10)
    first, twin, other = (mailbox.expect(job, None) for job in ("a", "a", "b"))
    mailbox.deliver(result("a"))
    assert first.result(0).job_id == twin.result(0).job_id == "a"
    assert not other.done()


def test_a_result_may_be_asked_for_after_it_came():
    """Whoever asks later gets it at once."""
    mailbox = Mailbox(10)
    mailbox.deliver(result("a"))
    assert mailbox.expect("a", None).result(0).job_id == "a"


def test_equal_ids_of_two_tenants_are_two_jobs():
    """A waiter that names its tenant is not given another's result."""
    mailbox = Mailbox(10)
    ours = mailbox.expect("a", "ours")
    mailbox.deliver(result("a", "theirs"))
    assert not ours.done()
    mailbox.deliver(result("a", "ours"))
    assert ours.result(0).tenant == "ours"
    assert mailbox.expect("a", "theirs").result(0).tenant == "theirs"


def test_the_end_of_an_escalated_job_replaces_its_escalation():
    """Who asks after the review gets the result."""
    mailbox = Mailbox(10)
    mailbox.deliver(result("a", status="escalated"))
    mailbox.deliver(result("a", status="corrected"))
    assert mailbox.expect("a", None).result(0).status == "corrected"


def test_what_is_remembered_is_bounded():
    """Only the newest are kept, and nothing of the older ones stays."""
    mailbox = Mailbox(2)
    for job in "abc":
        mailbox.deliver(result(job))
    assert not mailbox.expect("a", None).done()
    assert mailbox.expect("c", None).done()
    assert set(mailbox._known) == {"b", "c"}


def test_whoever_stops_waiting_leaves_nothing_behind():
    """A time-out must not leak a waiter."""
    mailbox = Mailbox(2)
    found = mailbox.expect("a", None)
    mailbox.forget("a", found)
    assert not mailbox._waiting
    mailbox.deliver(result("a"))
    assert not found.done()


def test_an_iterator_sees_everything_once_and_is_woken():
    """Results come in order, without gap or repetition, and an empty look gives something to wait on."""
    mailbox = Mailbox(10)
    mailbox.deliver(result("a"))
    seen, found, arrival = mailbox.since(0)
    assert [one.job_id for one in found] == ["a"]
    assert arrival is None
    seen, found, arrival = mailbox.since(seen)
    assert found == []
    assert arrival is not None
    mailbox.deliver(result("b"))
    assert arrival.done()
    assert [one.job_id for one in mailbox.since(seen)[1]] == ["b"]


def test_an_iterator_that_fell_behind_is_told():
    """A gap is never skipped in silence."""
    mailbox = Mailbox(2)
    for job in "abc":
        mailbox.deliver(result(job))
    with pytest.raises(ResultsLost, match="1 results"):
        mailbox.since(0)


def test_closing_tells_everyone_who_waits():
    """Nobody waits for ever on a closed client; what is remembered can still be read."""
    mailbox = Mailbox(10)
    mailbox.deliver(result("a"))
    waiting = mailbox.expect("b", None)
    _, _, arrival = mailbox.since(1)
    mailbox.close(ClientClosed("closed"))
    for future in (waiting, arrival):
        with pytest.raises(ClientClosed):
            future.result(0)
    with pytest.raises(ClientClosed):
        mailbox.expect("a", None)
    assert len(mailbox.since(0)[1]) == 1

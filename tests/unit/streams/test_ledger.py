"""What routing remembers of jobs is bounded: ended ones are forgotten after a week, open ones when none can be open."""

from datetime import UTC, datetime

from processors.outcome import Pass, Retry
from schemas.base import JsonText
from schemas.envelope import Head, Origin
from schemas.job import Job
from schemas.side import Spend, SpendKind
from schemas.stages import Submission
from streams.ledger import FORGOTTEN_OPEN_MS, LEDGER, REMEMBERED_MS, Repeated, look, note, settle
from streams.state import PartitionState

NOW = datetime(2026, 11, 21, tzinfo=UTC)
JOB = Job(workflow="sorting", input=JsonText("{}"))
ROUTED = Pass(Submission(size=0))


def head(job_id, rung=0, turn=0):
    return Head(
        tenant="t",
        job_id=job_id,
        workflow="sorting",
        rung=rung,
        round=turn,
        created_at=NOW,
        deadline=NOW,
        trace="0",
        origin=Origin(topic="jobs", partition=0, offset=0),
    )


def close(job_id):
    return Spend(kind=SpendKind.CLOSE, tenant="t", job_id=job_id, rung=0, round=0, at=NOW)


def routed(state, job_id, at):
    note(state, head(job_id), JOB, ROUTED, at)


def test_an_ended_job_is_forgotten_a_week_later():
    """Until then a repeat is recognised, afterwards the entry is gone from state and changelog."""
    state = PartitionState(LEDGER, 0, 6)
    routed(state, "j1", 0)
    settle(state, close("j1"), 10)
    routed(state, "j2", REMEMBERED_MS)
    assert isinstance(look(state, head("j1"), JOB), Repeated)
    state.changes()
    routed(state, "j3", REMEMBERED_MS + 10)
    assert look(state, head("j1"), JOB) is None
    assert [record.value for record in state.changes() if record.key == b"job/t/j1"] == [None]


def test_an_open_job_is_remembered_until_none_can_be_open():
    """A job that waits for long is known as long as a deadline can lie ahead."""
    state = PartitionState(LEDGER, 0, 6)
    routed(state, "j1", 0)
    routed(state, "j2", FORGOTTEN_OPEN_MS - 1)
    assert isinstance(look(state, head("j1"), JOB), Repeated)
    routed(state, "j3", FORGOTTEN_OPEN_MS)
    assert look(state, head("j1"), JOB) is None


def test_a_record_that_waits_has_not_gone_on():
    """A retry leaves nothing behind: when the record comes back, it is no repeat."""
    state = PartitionState(LEDGER, 0, 6)
    note(state, head("j1"), JOB, Retry("stopped", 10.0), 0)
    assert look(state, head("j1"), JOB) is None
    assert state.changes() == ()


def test_rounds_and_rungs_only_go_up():
    """Another round and a climb go on; an older trip through routing that turns up late does not."""
    state = PartitionState(LEDGER, 0, 6)
    note(state, head("j1", rung=1, turn=2), JOB, ROUTED, 0)
    assert look(state, head("j1", rung=1, turn=3), JOB) is None
    assert look(state, head("j1", rung=2, turn=0), JOB) is None
    for rung, turn in ((1, 2), (1, 1), (0, 5)):
        assert isinstance(look(state, head("j1", rung=rung, turn=turn), JOB), Repeated)


def test_a_rung_that_routing_skipped_counts_as_gone():
    """Routing may begin further up: what it chose is what is remembered."""
    state = PartitionState(LEDGER, 0, 6)
    note(state, head("j1"), JOB, Pass(Submission(size=0), head={"rung": 2}), 0)
    assert isinstance(look(state, head("j1", rung=1), JOB), Repeated)

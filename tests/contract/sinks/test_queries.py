"""The typed questions of the command line."""

from datetime import timedelta
from decimal import Decimal

import pytest

from sinks.errors import JobAmbiguous, QueryFailed, WarehouseAway
from sinks.queries import job_trace, run_query
from sinks.summary import demo_summary, job_counts

pytestmark = pytest.mark.stack


def test_a_trace_tells_the_whole_story(clickhouse, make):
    """Rows come as the models that they were written as, in order, with every text that is known."""
    story = make.Story()
    rows = [
        story.stage("routing", ms=3),
        story.stage("intake", ms=1),
        story.decision(),
        story.call(n=1, ms=30),
        story.failed_call(ms=20),
        story.check(),
        story.grade(),
        story.end("escalated", ms=55),
        story.end("corrected"),
        *story.payloads(),
    ]
    make.store(clickhouse, [*rows, *make.Story("job-2").one_of_each()])
    make.store(clickhouse, rows)
    trace = job_trace(clickhouse, "job-1")
    assert [event.stage for event in trace.stages] == ["intake", "routing"]
    assert trace.decisions == (story.decision(),)
    assert [call.event for call in trace.calls] == [story.failed_call(ms=20), story.call(n=1, ms=30)]
    assert [(call.request, call.response) for call in trace.calls] == [
        ("the request", None),
        ("the request", "the response"),
    ]
    assert (trace.checks, trace.grades, trace.dead_letters) == ((story.check(),), (story.grade(),), ())
    assert (trace.job, len(trace.endings)) == (story.end("corrected"), 2)
    assert (trace.input, trace.output) == ("the input", "the output")


def test_a_job_on_its_way_has_a_trace(clickhouse, make):
    """Before its end a job shows the stages it passed."""
    make.store(clickhouse, [make.Story().stage("intake")])
    trace = job_trace(clickhouse, "job-1")
    assert (len(trace.stages), trace.job, trace.input) == (1, None, None)


def test_an_unknown_job_has_none(clickhouse, make):
    """No row, no trace; another tenant's job is not found under mine."""
    make.store(clickhouse, make.Story().one_of_each())
    assert job_trace(clickhouse, "job-9") is None
    assert job_trace(clickhouse, "job-1", tenant="globex") is None


def test_the_same_id_of_two_tenants_must_be_told_apart(clickhouse, make):
    """The question is answered with the tenants to choose from, then with the one chosen."""
    for tenant in ("globex", "acme"):
        make.store(clickhouse, make.Story(tenant=tenant).one_of_each())
    with pytest.raises(JobAmbiguous) as caught:
        job_trace(clickhouse, "job-1")
    assert caught.value.tenants == ("acme", "globex")
    assert job_trace(clickhouse, "job-1", tenant="globex").job.tenant == "globex"


def test_a_users_query_reads_and_never_writes(clickhouse, make):
    """Columns and rows come back; a statement that writes is refused."""
    make.store(clickhouse, make.Story().one_of_each())
    answer = run_query(
        clickhouse, "SELECT status, count() AS jobs FROM v_jobs WHERE tenant = {t:String} GROUP BY 1", {"t": "acme"}
    )
    assert (answer.columns, answer.rows) == (("status", "jobs"), (("accepted", 1),))
    with pytest.raises(QueryFailed):
        run_query(clickhouse, "TRUNCATE TABLE jobs")


def three_jobs(make):
    climbed, failed, waiting = make.Story("job-1"), make.Story("job-2"), make.Story("job-3", tenant="globex")
    return [
        *(climbed.failed_call(), climbed.call(n=1, cost="0.1"), climbed.call(rung=1, cost="0.3")),
        climbed.end(rung=1, ms=100, cost=None, priced_cost_usd=Decimal("0.4"), unpriced_attempts=1),
        *(failed.call(cost="0.2"), failed.end("failed", ms=300, cost="0.2")),
        *(waiting.call(cost="0.2"), waiting.end("escalated", ms=900, cost="0.2")),
    ]


def test_a_summary_adds_up(clickhouse, make):
    """All money over accepted answers; times of ended jobs only; rows of every table, repeats not counted."""
    make.store(clickhouse, three_jobs(make))
    make.store(clickhouse, three_jobs(make))
    found = demo_summary(clickhouse)
    assert (found.jobs, found.accepted) == (3, 1)
    assert found.by_status == {"accepted": 1, "escalated": 1, "failed": 1}
    assert (found.calls, found.failed_calls, found.price_coverage) == (5, 1, 0.8)
    assert (found.cost_usd, found.cost_per_accepted_usd) == (Decimal("0.8"), Decimal("0.8"))
    assert (found.p50_ms, found.p95_ms) == (200.0, 290.0)
    assert [(rung.rung, rung.variant, rung.jobs, rung.accepted) for rung in found.by_rung] == [
        (0, "small", 2, 0),
        (1, "mid", 1, 1),
    ]
    assert (found.rows["attempts"], found.rows["jobs"], found.rows["payloads"]) == (5, 3, 0)


def test_a_summary_can_be_narrowed(clickhouse, make):
    """By tenant, workflow or time; of nothing there is no percentile and no share."""
    make.store(clickhouse, three_jobs(make))
    assert demo_summary(clickhouse, tenant="globex").by_status == {"escalated": 1}
    assert job_counts(clickhouse, workflow="banking_intent", since=make.NOW) == {
        "accepted": 1,
        "escalated": 1,
        "failed": 1,
    }
    nothing = demo_summary(clickhouse, since=make.NOW + timedelta(seconds=1))
    assert (nothing.jobs, nothing.calls, nothing.cost_usd) == (0, 0, Decimal(0))
    assert (nothing.p50_ms, nothing.price_coverage, nothing.cost_per_accepted_usd) == (None, None, None)


def test_questions_during_an_outage_say_so(clickhouse):
    """Away is away, whatever is asked."""
    gone = type(clickhouse)("http://127.0.0.1:1")
    for ask in (job_counts, demo_summary, lambda client: job_trace(client, "job-1")):
        with pytest.raises(WarehouseAway):
            ask(gone)
    gone.close()

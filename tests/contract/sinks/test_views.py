"""The views: what they promise, on rows as the stages write them."""

from decimal import Decimal

import pytest

pytestmark = pytest.mark.stack


def one(client, sql, **parameters):
    (row,) = client.query(sql, parameters).dicts()
    return row


def test_a_job_is_one_row_however_often_its_rows_came(clickhouse, make):
    """Escalated, taken up again, escalated again and ended, with every row sent twice: one row, the end."""
    story = make.Story()
    rows = [
        story.end("escalated", ms=60),
        story.end("escalated", ms=90, event_id="second"),
        story.end("accepted_after_review", ms=5000),
    ]
    for _ in range(2):
        make.store(clickhouse, rows)
    job = one(clickhouse, "SELECT * FROM v_jobs")
    assert (job["status"], job["terminal"], job["terminal_rows"]) == ("accepted_after_review", True, 1)
    assert (job["escalated_at"], job["ended_at"]) == (rows[1].time, rows[2].time)
    assert (job["tokens"], job["cost_usd"]) == (132, Decimal("0.000012345"))


def test_a_waiting_job_is_its_newest_escalation(clickhouse, make):
    """While a person has it, a job is on the list without an end."""
    story = make.Story()
    make.store(
        clickhouse, [story.end("escalated", ms=60), story.end("escalated", ms=90, event_id="second", reason="b")]
    )
    job = one(clickhouse, "SELECT * FROM v_jobs")
    assert (job["status"], job["terminal"], job["ended_at"], job["terminal_rows"]) == ("escalated", False, None, 0)
    assert job["reason"] == "b"


def test_the_same_id_of_two_tenants_is_two_jobs(clickhouse, make):
    """Identity is tenant and id together."""
    make.store(clickhouse, [make.Story(tenant=tenant).end() for tenant in ("acme", "globex")])
    assert clickhouse.query("SELECT tenant FROM v_jobs ORDER BY tenant").rows == (("acme",), ("globex",))


def test_a_second_end_would_show(clickhouse, make):
    """If a job ever ended twice, it would still be one row, which says so."""
    story = make.Story()
    make.store(clickhouse, [story.end(), story.end("failed", ms=90, event_id="impossible")])
    assert one(clickhouse, "SELECT terminal_rows FROM v_jobs")["terminal_rows"] == 2


def test_unknown_cost_is_null_not_zero(clickhouse, make):
    """A job with an unpriced call has no cost, but what is known of it; a failed call is not free either."""
    story = make.Story()
    make.store(clickhouse, [story.failed_call(), story.call(n=1), story.end(cost=None, priced_cost_usd=Decimal("0.5"))])
    job = one(clickhouse, "SELECT * FROM v_jobs")
    assert (job["cost_usd"], job["priced_cost_usd"], job["unpriced_attempts"]) == (None, Decimal("0.5"), 1)
    calls = clickhouse.query("SELECT ok, error_class, cost_usd, cost_unknown_because FROM v_calls ORDER BY n").rows
    assert calls == ((False, "wait_until", None, "no price"), (True, None, Decimal("0.000012345"), None))


def test_a_trace_has_everything_in_order(clickhouse, make):
    """Every kind of row about a job appears once, in time's order, and its money adds up to the calls' money."""
    story = make.Story()
    rows = [
        story.stage("intake", ms=1),
        story.decision(ms=2),
        story.failed_call(ms=20),
        story.call(n=1, ms=30),
        story.stage("inference", ms=30),
        story.check(ms=40),
        story.grade(ms=50),
        story.end("escalated", ms=60),
        story.end("corrected", ms=70),
    ]
    make.store(clickhouse, [*rows, *make.Story("job-2").one_of_each()])
    make.store(clickhouse, rows)
    found = clickhouse.query("SELECT * FROM v_trace WHERE job_id = 'job-1' ORDER BY time, position").dicts()
    assert [(row["kind"], row["what"]) for row in found] == [
        ("stage", "pass"),
        ("decision", "small"),
        ("call", "wait_until"),
        ("call", "answered"),
        ("stage", "pass"),
        ("check", "schema: allow"),
        ("gate", "accept"),
        ("escalation", "escalated"),
        ("end", "corrected"),
    ]
    assert sum(row["cost_usd"] or 0 for row in found) == Decimal("0.000012345")
    assert found[2]["detail"]["cost_unknown_because"] == "no price"


def test_a_dead_letter_is_in_the_trace(clickhouse, make):
    """What was given up on is found under its job, with the record's address."""
    make.store(clickhouse, [make.Story().dead_letter()])
    row = one(clickhouse, "SELECT * FROM v_trace WHERE job_id = 'job-1'")
    assert (row["kind"], row["what"], row["reason"], row["rung"]) == ("dead_letter", "ValueError", "a bug", None)
    assert row["detail"] == {"read_from": "answered/1/7"}


def test_cost_counts_failed_calls_and_lower_rungs(clickhouse, make):
    """Per accepted answer of the workflow all money counts: of the rung climbed past and of jobs that failed."""
    climbed = make.Story("job-1")
    failed = make.Story("job-2")
    unpriced = make.Story("job-3")
    make.store(
        clickhouse,
        [
            *(
                climbed.failed_call(),
                climbed.call(n=1, cost="0.1"),
                climbed.call(rung=1, cost="0.5"),
                climbed.end(rung=1),
            ),
            *(failed.call(cost="0.2"), failed.end("failed")),
            *(unpriced.call(cost=None), unpriced.end(cost=None)),
            make.Story("job-4").end("rejected"),
            make.Story("job-5").end("escalated"),
        ],
    )
    found = {row["variant"]: row for row in clickhouse.query("SELECT * FROM v_cost").dicts()}
    small, mid, none = found["small"], found["mid"], found[""]
    assert (small["jobs"], small["accepted"], small["calls"], small["failed_calls"]) == (2, 1, 4, 1)
    assert (small["priced_calls"], small["price_coverage"], small["cost_usd"]) == (2, 0.5, Decimal("0.3"))
    assert small["cost_per_accepted_usd"] == pytest.approx(0.3)
    assert (mid["jobs"], mid["accepted"], mid["calls"], mid["cost_usd"]) == (1, 1, 1, Decimal("0.5"))
    assert (none["jobs"], none["calls"], none["cost_usd"], none["price_coverage"]) == (1, 0, None, None)
    whole = one(clickhouse, "SELECT toFloat64(sum(cost_usd)) / sum(accepted) AS each, sum(jobs) AS jobs FROM v_cost")
    assert whole == {"each": pytest.approx(0.4), "jobs": 4}


def test_a_resend_of_everything_changes_no_view(clickhouse, make):
    """Whatever analysts read is the same when all rows were stored three times over, in bodies of other sizes."""
    stories = [make.Story(f"job-{number}") for number in range(5)]
    rows = [row for story in stories for row in (*story.one_of_each(), story.call(1), *story.payloads())]
    found = clickhouse.query("SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View'")
    views = sorted(name for (name,) in found.rows)
    make.store(clickhouse, rows)
    once = {view: clickhouse.query(f"SELECT * FROM {view} ORDER BY ALL").rows for view in views}
    make.store(clickhouse, rows)
    make.store(clickhouse, rows[::2])
    assert {view: clickhouse.query(f"SELECT * FROM {view} ORDER BY ALL").rows for view in views} == once
    assert sum(map(len, once.values())) > len(stories)

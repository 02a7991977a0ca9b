import json
from decimal import Decimal

import pytest

from penstock.cli.demo.baseline import Answered, Baseline
from penstock.cli.demo.feed import Asked, Tally, choose
from penstock.cli.demo.report import checks, report
from penstock.cli.demo.view import next_steps, page
from penstock.client import JobResult
from penstock.local.banking77 import Message
from sinks.summary import Summary

LABEL = "card_arrival"


def result(job_id, status="accepted", label=LABEL, rung=0, **more):
    is_open = status == "escalated"
    answer = {"intent": label}
    known = {
        "job_id": job_id,
        "tenant": "demo-1",
        "status": status,
        "open": is_open,
        "output": None if is_open else answer,
        "proposed": answer if is_open else None,
        "confidence": 0.95,
        "workflow": "banking_intent",
        "workflow_version": "v",
        "variant": None if is_open else ("small", "large")[rung],
        "model": None if is_open else ("local-small", "local-large")[rung],
        "rung": rung,
        "timings": {"total_ms": 100.0 * (rung + 1)},
        "trace_id": "0" * 32,
    }
    return JobResult(**known | more)


@pytest.fixture
def tally():
    """Ten jobs: seven accepted on the first rung (one of them wrong), two on the second, one with a person."""
    asked = tuple(Asked(f"j{n}", Message(f"text {n}", LABEL)) for n in range(10))
    found = [result(f"j{n}", label="wrong" if n == 6 else LABEL) for n in range(7)]
    found += [result(f"j{n}", rung=1) for n in (7, 8)]
    found.append(result("j9", "escalated", rung=1, confidence=0.4, timings={}))
    return Tally("demo-1", asked, published=10, results={one.job_id: one for one in found})


@pytest.fixture
def summary():
    """What the warehouse says about the same ten."""
    return Summary(
        jobs=10,
        accepted=9,
        by_status={"accepted": 9, "escalated": 1},
        by_rung=(),
        calls=13,
        failed_calls=0,
        tokens=100,
        cost_usd=Decimal("0.9"),
        price_coverage=1.0,
        cost_per_accepted_usd=Decimal("0.1"),
        p50_ms=100.0,
        p95_ms=200.0,
        rows={"jobs": 10, "attempts": 13},
    )


@pytest.fixture
def baseline():
    """The largest model was right on all but one, which it gave no valid answer to."""
    answers = {f"j{n}": Answered(f"j{n}", LABEL if n else None, Decimal("0.2"), 150.0) for n in range(10)}
    return Baseline("local-large", answers)


def test_the_account_adds_up(tally, baseline, summary):
    """Counts, accuracies and costs are those of what was measured."""
    found = report(tally, baseline, summary, 12.0)
    assert found.ok
    assert found.by_status == {"accepted": 9, "escalated": 1}
    first, second = found.by_rung
    assert (first.variant, first.jobs, first.accepted, round(first.accuracy, 3)) == ("small", 7, 7, 0.857)
    assert (second.variant, second.jobs, second.accepted, second.accuracy) == ("large", 3, 2, 1.0)
    assert (found.penstock.accepted, found.penstock.right) == (9, 8)
    assert found.penstock.cost_per_accepted_usd == Decimal("0.1")
    assert (found.largest.accepted, found.largest.right) == (9, 9)
    assert found.largest.cost_per_accepted_usd == Decimal(2) / 9
    assert round(found.largest_right_on_accepted, 3) == 0.889
    assert sum(one.jobs for one in found.bins) == 10


def test_an_unknown_price_makes_an_unknown_cost(tally, baseline, summary):
    """A sum with unknown parts is not shown as a sum."""
    partly = Summary(**{name: getattr(summary, name) for name in Summary.__slots__} | {"price_coverage": 0.9})
    found = report(tally, Baseline("m", {"j1": Answered("j1", LABEL, None, 1.0)}), partly, 1.0)
    assert found.penstock.cost_usd is None
    assert found.penstock.cost_per_accepted_usd is None
    assert found.largest.cost_usd is None


def wrong(tally, summary):
    return {check.name for check in checks(tally, summary) if not check.ok}


def test_nothing_is_wrong_with_a_good_run(tally, summary):
    """All that must hold holds."""
    assert wrong(tally, summary) == set()


def test_a_job_that_is_unaccounted_for_is_wrong(tally, summary):
    """One lost job fails the demo, here and beside the warehouse."""
    del tally.results["j0"]
    assert wrong(tally, summary) >= {"every job is accounted for", "the warehouse says the same"}


def test_two_results_for_a_job_are_wrong(tally, summary):
    """A doubled result fails the demo."""
    tally.doubled.append("j0")
    assert wrong(tally, summary) == {"no job has two results"}


def test_a_failed_job_is_wrong(tally, summary):
    """One failed job fails the demo; with ten jobs it is also too many that did not settle."""
    tally.results["j0"] = result("j0", "failed")
    assert "no job failed" in wrong(tally, summary)
    assert "95 % are accepted or with a person" in wrong(tally, summary)


def test_too_few_accepted_is_wrong(tally, summary):
    """A pipeline that hands everything to people has not done its work."""
    for n in range(6):
        tally.results[f"j{n}"] = result(f"j{n}", "escalated")
    assert "at least half are accepted" in wrong(tally, summary)
    assert "95 % are accepted or with a person" not in wrong(tally, summary)


def test_the_page_shows_it_all(tally, baseline, summary, text):
    """Statuses, rungs, the comparison, the plot, the tables' rows and the checks."""
    shown = text(page(report(tally, baseline, summary, 12.0)))
    for part in ("accepted", "local-small", "always local-large", "0.9 to 1.0", "█", "attempts 13", "✓"):
        assert part in shown
    assert "costs 55% less" in shown


def test_the_page_of_a_run_without_any_acceptance(tally, baseline, summary, text):
    """Nothing to divide by is unknown, not an error."""
    for job_id in tally.results:
        tally.results[job_id] = result(job_id, "escalated", confidence=None)
    found = report(tally, baseline, summary, 1.0)
    assert not found.ok
    assert "unknown" in text(page(found))
    assert "✗" in text(page(found))


def test_the_account_as_json(tally, baseline, summary):
    """Stable keys; money as text once it is printed."""
    said = json.loads(json.dumps(report(tally, baseline, summary, 12.0).to_json(), default=str))
    assert said["ok"] is True
    assert said["unaccounted"] == 0
    assert set(said["ways"]) == {"penstock", "always_largest"}
    assert said["ways"]["penstock"]["cost_per_accepted_usd"] == "0.1"


def test_three_commands_to_try(tally, baseline, summary):
    """The example is a job that climbed and was accepted; a stack that was stopped is to be started first."""
    found = report(tally, baseline, summary, 12.0)
    assert "penstock trace j7" in next_steps(found, stopped=False)
    assert "penstock up" not in next_steps(found, stopped=False)
    assert "penstock up" in next_steps(found, stopped=True)


def test_the_same_messages_every_time_under_new_ids():
    """Two runs are comparable, and never mix."""
    messages = tuple(Message(f"text {n}", "label") for n in range(50))
    one, other = choose(messages, 20), choose(messages, 20)
    assert [asked.message for asked in one.asked] == [asked.message for asked in other.asked]
    assert len({asked.message for asked in one.asked}) == 20
    assert one.tenant != other.tenant

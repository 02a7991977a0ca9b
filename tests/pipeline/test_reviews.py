"""People's verdicts: the first one ends the job that waits for it, or its time does; what can't be followed is told."""

import json

import pytest

from processors.providers.scripted import answer
from processors.reviewing import Reviewing
from streams.records import Record
from streams.reviews import AGAIN_S, PATIENCE, ReviewWork

DAY_S = 86_400


@pytest.fixture
async def waiting(line):
    """A job that waits for a person, with a proposal nobody trusts; gives its escalation as people see it."""
    line.script = lambda request: answer('{"intent":"lost"}', request.model.id, 0.2)
    line.submit("j1", tenant="acme")
    (escalation,) = await line.until(lambda: line.values("escalations"))
    assert not line.values("results")
    return escalation


def say(line, escalation, verdict, **fields):
    """Write a verdict as a person's tool does: under no key that means anything."""
    value = {
        "escalation_id": escalation["escalation_id"],
        "job_id": "j1",
        "tenant": "acme",
        "verdict": verdict,
        "reviewer": "ann",
        "reviewed_at": "2026-11-21T12:00:00Z",
    } | fields
    line.broker.append(Record("reviews", None, json.dumps(value).encode()))


@pytest.mark.parametrize(
    ("verdict", "fields", "status", "output"),
    [
        ("accept", {}, "accepted_after_review", {"intent": "lost"}),
        ("correct", {"output": {"intent": "found"}, "note": "read again"}, "corrected", {"intent": "found"}),
        ("reject", {}, "rejected", None),
    ],
)
async def test_a_verdict_ends_the_job(line, waiting, verdict, fields, status, output):
    """The result carries the answer that the person gave, who it was, and what the job has cost on its way."""
    say(line, waiting, verdict, **fields)
    result = await line.result("j1")
    assert (result["status"], result["output"], result["tenant"]) == (status, output, "acme")
    assert "by ann" in result["reason"]
    assert fields.get("note", "") in result["reason"]
    assert (result["attempts"], result["variant"]) == (waiting["attempts"], "large")
    assert result["decision_path"][-1]["stage"] == "reviews"
    await line.until(lambda: not line.unfinished())
    assert [row["status"] for row in line.rows("jobs", "j1")][-1] == status
    line.submit("j1", tenant="acme")
    await line.until(lambda: [row for row in line.rows("stage_events", "j1") if row["outcome"] == "repeated"])


async def test_the_first_verdict_wins_also_after_a_restart(line, waiting):
    """A second verdict changes nothing and is told so, whoever runs the stage by then."""
    say(line, waiting, "accept")
    await line.result("j1")
    await line.until(lambda: not line.unfinished())
    await line.kill_worker()
    line.start()
    say(line, waiting, "reject", reviewer="bob")
    (letter,) = await line.until(lambda: line.broker.records("dead-letters"))
    assert "job j1 of tenant acme has been decided already" in dict(letter.headers)["__dlq.errors.message"].decode()
    assert [result["status"] for result in line.values("results")] == ["accepted_after_review"]


async def test_a_job_whose_time_is_over_expires_once(line, waiting):
    """Nobody has decided for a week: the job ends, a later verdict comes too late, also over a restart."""
    await line.kill_worker()
    line.clock.move(7 * DAY_S + 1)
    line.start()
    result = await line.result("j1")
    assert result["status"] == "expired"
    assert "no verdict by" in result["reason"]
    say(line, waiting, "accept")
    (letter,) = await line.until(lambda: line.broker.records("dead-letters"))
    assert "has been decided already" in dict(letter.headers)["__dlq.errors.message"].decode()


async def test_a_job_that_is_handed_on_waits_a_week_more(line, waiting):
    """Escalate as a verdict gives somebody else the time that the first person had."""
    line.clock.move(6 * DAY_S)
    say(line, waiting, "escalate", reviewer="bob")
    await line.until(lambda: not line.unfinished())
    line.clock.move(6 * DAY_S)
    say(line, waiting, "accept")
    assert (await line.result("j1"))["status"] == "accepted_after_review"


@pytest.mark.parametrize(
    ("verdict", "fields", "said"),
    [
        ("correct", {}, "must hold the right answer"),
        ("correct", {"output": {"intent": 5}}, "its output may not be given out: /intent"),
        ("accept", {"escalation_id": "acme/j1/9/9"}, "the verdict is on acme/j1/9/9"),
        ("maybe", {}, "verdict: Input should be"),
        ("accept", {"reviewer": None}, "reviewer: "),
    ],
)
async def test_a_verdict_that_can_t_be_followed_leaves_the_job_waiting(line, waiting, verdict, fields, said):
    """What is wrong with it is said; a good verdict still ends the job."""
    say(line, waiting, verdict, **fields)
    (letter,) = await line.until(lambda: line.broker.records("dead-letters"))
    assert said in dict(letter.headers)["__dlq.errors.message"].decode()
    assert not line.values("results")
    say(line, waiting, "accept")
    assert (await line.result("j1"))["status"] == "accepted_after_review"


async def test_a_verdict_on_a_job_that_nobody_waits_for_is_told_after_a_while(line, waiting):
    """It may have overtaken its job, so it is looked at a few times before it is given up."""
    say(line, waiting, "accept", job_id="j2")
    for looked in range(1, PATIENCE + 1):
        await line.until(lambda looked=looked: len(line.broker.records("retries.10s")) == looked)
        line.clock.move(AGAIN_S)
    (letter,) = await line.until(lambda: line.broker.records("dead-letters"))
    assert "job j2 of tenant acme does not wait for a person" in dict(letter.headers)["__dlq.errors.message"].decode()


async def test_a_job_that_a_bug_keeps_from_waiting_fails(line, monkeypatch):
    """It has its one result and a dead letter that can be redriven, and a verdict on it comes too late."""
    line.script = lambda request: answer('{"intent":"lost"}', request.model.id, 0.2)
    with monkeypatch.context() as broken:
        broken.setattr(ReviewWork, "_open", lambda _self, delivery: {}[delivery.address.topic])
        line.submit("j1", tenant="acme")
        result = await line.result("j1")
    assert result["status"] == "failed"
    assert result["reason"].startswith("KeyError in reviews; the record is the dead letter of held/")
    (letter,) = line.broker.records("dead-letters")
    headers = dict(letter.headers)
    assert (headers["penstock-retryable"], headers["penstock-job"]) == (b"true", b"j1")
    (escalation,) = line.values("escalations")
    say(line, escalation, "accept")
    await line.until(lambda: len(line.broker.records("dead-letters")) == 2)
    assert len(line.values("results")) == 1


async def test_a_verdict_that_meets_a_bug_leaves_the_job_waiting(line, waiting, monkeypatch):
    """Of the verdict a dead letter is left; the next one ends the job."""
    with monkeypatch.context() as broken:
        broken.setattr(Reviewing, "decide", lambda _self, held, _review: {}[held.head.job_id])
        say(line, waiting, "accept")
        (letter,) = await line.until(lambda: line.broker.records("dead-letters"))
    assert dict(letter.headers)["penstock-error-class"] == b"KeyError"
    assert not line.values("results")
    say(line, waiting, "accept")
    assert (await line.result("j1"))["status"] == "accepted_after_review"

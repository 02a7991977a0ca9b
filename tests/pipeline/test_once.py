"""Nothing happens twice: repeated jobs and idempotency keys, also across restarts of the worker."""

import asyncio
import json

from processors.providers.scripted import answer
from streams.awake import Awake, in_work
from streams.records import Record

REPEATED = "repeated"


def repeats(line, job_id):
    return [row for row in line.rows("stage_events", job_id) if row["outcome"] == REPEATED]


async def test_a_repeated_job_leaves_a_trace_row_and_nothing_else(line):
    """Published again while it runs and after it has ended, a job has one result, and its calls are made once."""
    for _ in range(3):
        line.submit("j1")
    await line.result("j1")
    await line.until(lambda: not line.unfinished())
    line.submit("j1")
    await line.until(lambda: len(repeats(line, "j1")) == 3)
    assert len(line.values("results")) == 1
    assert len(line.provider.requests) == 1
    assert {row["reason"] for row in repeats(line, "j1")} <= {
        "the job was routed before: rung 0, round 0",
        "the job has its result",
    }
    assert len(line.rows("jobs", "j1")) == 1


async def test_a_job_is_known_after_a_restart(line):
    """What routing remembers is restored: the next worker leaves out what an earlier one has routed."""
    line.submit("j1")
    await line.result("j1")
    await line.until(lambda: not line.unfinished())
    await line.kill_worker()
    line.start()
    line.submit("j1")
    line.submit("j2")
    await line.result("j2")
    await line.until(lambda: repeats(line, "j1"))
    assert len(line.values("results")) == 2


async def test_another_tenant_may_use_the_same_id(line):
    """Tenant and job id together are the identity."""
    line.submit("j1", tenant="acme")
    line.submit("j1", tenant="bolt")
    await line.until(lambda: len(line.values("results")) == 2)
    assert {result["tenant"] for result in line.values("results")} == {"acme", "bolt"}


async def test_a_job_that_is_refused_twice_is_answered_once(line):
    """A bad job has one result however often it comes."""
    for _ in range(2):
        line.publish({"workflow": "nope", "input": {}, "job_id": "j1"})
    await line.result("j1")
    await line.until(lambda: repeats(line, "j1"))
    assert [result["status"] for result in line.values("results")] == ["rejected"]


async def test_an_idempotency_key_names_the_first_job_also_after_a_restart(line):
    """A second job under the key gets one result of its own, duplicate, and is never called for."""
    line.submit("j1", idempotency_key="order-7")
    await line.result("j1")
    await line.until(lambda: not line.unfinished())
    await line.kill_worker()
    line.start()
    line.submit("j2", idempotency_key="order-7")
    result = await line.result("j2")
    assert (result["status"], result["output"]) == ("duplicate", None)
    assert "job j1" in result["reason"]
    assert len(line.provider.requests) == 1


async def test_a_key_is_not_used_up_by_a_job_that_was_refused(line):
    """Who mends a bad input may send it again under the same key."""
    line.publish({"workflow": "sorting", "input": {"text": 5}, "job_id": "bad", "idempotency_key": "k"})
    await line.result("bad")
    line.submit("good", idempotency_key="k")
    assert (await line.result("good"))["status"] == "accepted"


async def test_climbs_are_no_repeats(line):
    """A job that climbs comes by routing again and goes on."""
    sure = {"tiny": 0.2, "grand": 0.99}
    line.script = lambda request: answer('{"intent":"lost"}', request.model.id, sure[request.model.id])
    line.submit("j1")
    result = await line.result("j1")
    assert (result["status"], result["rung"]) == ("accepted", 1)
    assert not repeats(line, "j1")


async def test_jobs_of_every_priority_are_taken(line):
    """The topics of all priorities lead to the same results."""
    for topic in ("jobs.high", "jobs", "jobs.low"):
        value = {"workflow": "sorting", "input": {"text": "my card"}, "job_id": topic}
        line.broker.append(Record(topic, None, json.dumps(value).encode()))
    await line.until(lambda: len(line.values("results")) == 3)
    assert {result["status"] for result in line.values("results")} == {"accepted"}
    await line.until(lambda: not line.unfinished())


async def test_a_job_that_was_lost_before_its_call_is_left_to_its_new_owner(line):
    """Nothing comes of it here: no call, no bug, no dead letter; whoever has the partition next answers it."""
    awake, lost = Awake(), asyncio.Event()
    await line.stop()

    async def inference(_):
        in_work.get().assignment.live = False
        lost.set()
        await awake.before_call()

    line.replaced = {"inference": inference}
    line.start()
    line.submit("j1")
    await lost.wait()
    async with asyncio.timeout(10):  # a slot that were never freed would hold up the drain
        await line.stop()
    line.replaced = {}
    line.start()
    assert (await line.result("j1"))["status"] == "accepted"
    assert len(line.provider.requests) == 1
    assert not line.broker.records("dead-letters")

"""A record that kills the process is found and given up; its neighbours and innocent bystanders succeed."""

import asyncio

import pytest

from processors.providers.scripted import Canned, answer
from streams.isolation import ALONE_DEATHS, AS_USUAL_DEATHS
from streams.reviews import ReviewWork

NEIGHBOURS = 40


async def run_until_done(line, killed, jobs):
    """Restart the worker whenever it was killed, until all jobs have ended; returns how often."""
    kills = 0
    while len(line.results()) < jobs:
        done = asyncio.create_task(line.until(lambda: len(line.results()) == jobs))
        died = asyncio.create_task(killed.wait())
        await asyncio.wait([done, died], return_when=asyncio.FIRST_COMPLETED)
        for task in (done, died):
            task.cancel()
        if killed.is_set():
            kills += 1
            await line.kill_worker()
            killed.clear()
            line.start()
    return kills


@pytest.mark.timeout(60)
async def test_a_poison_record_is_given_up_after_three_kills_alone(line):
    """It costs some restarts; then its job has failed with a dead letter, and every neighbour has its answer."""
    killed = asyncio.Event()

    def script(request):
        if "poison" in request.messages[-1].content:
            killed.set()
            return Canned(after_s=60)
        return answer('{"intent":"lost"}', request.model.id)

    line.script = script
    for n in range(NEIGHBOURS):
        line.submit(f"j{n}", "poison" if n == 20 else "my card")
    kills = await run_until_done(line, killed, NEIGHBOURS)
    results = line.results()
    poison = results.pop("j20")
    assert poison["status"] == "failed"
    assert "ProcessKilled in inference" in poison["reason"]
    assert {result["status"] for result in results.values()} == {"accepted"}
    (letter,) = line.broker.records("dead-letters")
    assert f"ended {ALONE_DEATHS} times" in dict(letter.headers)["__dlq.errors.message"].decode()
    assert kills <= 2 + 5 + ALONE_DEATHS
    await line.until(lambda: not line.unfinished())


@pytest.mark.timeout(60)
async def test_poison_in_a_stage_that_follows_at_once_is_found_on_its_own_topic(line):
    """Its answer is committed first, so that finding it costs no more calls than any two kills would have cost."""
    killed = asyncio.Event()
    await line.stop()
    validate = next(stage.runs for stage in line._stages() if stage.name == "validation")

    async def validation(envelope):
        if "poison" in envelope.payload.job.input:
            killed.set()
            await asyncio.sleep(60)
        return await validate(envelope)

    line.replaced = {"validation": validation}
    line.start()
    for n in range(NEIGHBOURS):
        line.submit(f"j{n}", "poison" if n == 20 else "my card")
    await run_until_done(line, killed, NEIGHBOURS)
    results = line.results()
    poison = results.pop("j20")
    assert poison["status"] == "failed"
    assert "ProcessKilled in validation" in poison["reason"]
    assert {result["status"] for result in results.values()} == {"accepted"}
    (letter,) = line.broker.records("dead-letters")
    assert dict(letter.headers)["__dlq.errors.topic"] == b"answered"
    assert sum("poison" in request.messages[-1].content for request in line.provider.requests) <= AS_USUAL_DEATHS + 1


@pytest.mark.timeout(60)
async def test_thirty_kills_of_a_healthy_worker_give_up_nothing(line):
    """Kills that come when a record has just been answered leave no dead letter."""
    for n in range(30):
        line.submit(f"j{n}")
        await line.until(lambda n=n: f"j{n}" in line.results())
        line.submit(f"late{n}")
        await line.kill_worker()
        line.start()
        await line.until(lambda n=n: f"late{n}" in line.results())
    assert not line.broker.records("dead-letters")
    assert {result["status"] for result in line.results().values()} == {"accepted"}


@pytest.mark.timeout(60)
async def test_a_job_whose_wait_for_a_person_ends_the_process_fails(line, monkeypatch):
    """It is given up after three kills alone, with one result; another that waits is decided as ever."""
    killed, kept = asyncio.Event(), ReviewWork.__call__

    async def waits(work, delivery):
        if delivery.address.topic == "held" and b"poison" in delivery.raw.value:
            killed.set()
            await asyncio.sleep(60)
        return await kept(work, delivery)

    monkeypatch.setattr(ReviewWork, "__call__", waits)
    line.script = lambda request: answer('{"intent":"lost"}', request.model.id, 0.2)
    line.submit("j1", "poison")
    kills = await run_until_done(line, killed, 1)
    result = line.results()["j1"]
    assert result["status"] == "failed"
    assert "ProcessKilled in reviews" in result["reason"]
    (letter,) = line.broker.records("dead-letters")
    assert f"ended {ALONE_DEATHS} times" in dict(letter.headers)["__dlq.errors.message"].decode()
    assert kills <= 2 + 5 + ALONE_DEATHS
    line.submit("j2")
    await line.until(lambda: len(line.values("escalations")) == 2)
    await line.until(lambda: not line.unfinished())

"""Routing follows intake at once where it has the partition: the same comes of a job, whatever is lost in between."""

import pytest

from processors.outcome import Retry
from streams.memory import MemoryPublisher
from streams.topics import ADMITTED


def admitted(line):
    return len(line.broker.records(ADMITTED.name))


def repeats(line):
    return [row for row in line.stored().rows("stage_events") if row["outcome"] == "repeated"]


@pytest.fixture
async def entered(line):
    """Give a pipeline whose routing has begun in the partition of the default tenant."""
    line.submit("first")
    await line.result("first")
    assert admitted(line) == 1
    return line


@pytest.fixture
def losing(monkeypatch):
    """Give a function that has the sources of these groups lose and regain their partitions before the next commit."""

    def have(line, *groups):
        commit, left = MemoryPublisher.commit, list(groups)

        async def after_losing(publisher, batch):
            if left and any(one.emission.entered is not None for one in batch.finished):
                for source in [source for source in line.opened if source.group in left]:
                    source.assign()
                left.clear()
            await commit(publisher, batch)

        monkeypatch.setattr(MemoryPublisher, "commit", after_losing)

    return have


async def test_a_job_goes_on_in_routing_without_a_record_between(entered):
    """Once routing has begun in the tenant's partition, nothing more is written to `admitted`."""
    for n in range(20):
        entered.submit(f"j{n}")
    for n in range(20):
        result = await entered.result(f"j{n}")
        assert [step["stage"] for step in result["decision_path"]][:2] == ["intake", "routing"]
    assert admitted(entered) == 1


@pytest.mark.parametrize("lost", [("routing",), ("intake",), ("intake", "routing")])
async def test_a_job_ends_once_whatever_partition_is_lost_before_the_commit(entered, losing, lost):
    """Lost and given back before the commit: the job has one result, and routing's memory is what its log says."""
    losing(entered, *lost)
    entered.submit("j1")
    assert (await entered.result("j1"))["status"] == "accepted"
    await entered.until(lambda: not entered.unfinished())
    assert admitted(entered) == 2
    assert len(repeats(entered)) == (lost == ("intake",))
    assert len(entered.provider.requests) == 2
    await entered.kill_worker()
    entered.start()  # which refuses a memory that its log contradicts
    entered.submit("j1")
    await entered.until(lambda: repeats(entered))
    assert len(entered.values("results")) == 2


async def test_a_repeat_goes_over_the_topic(entered):
    """A job that comes twice has a record of its own on `admitted`."""
    entered.submit("first")
    await entered.until(lambda: repeats(entered))
    assert admitted(entered) == 2


async def test_what_routing_puts_off_waits_with_a_record_of_its_own(line):
    """Routing that says not now leaves no trace in its memory: the job goes over `admitted`, waits and ends once."""
    await line.stop()
    works, put_off = next(one.runs for one in line._stages() if one.name == "routing"), []

    async def routing(envelope):
        return put_off.pop() if put_off else await works(envelope)

    line.replaced = {"routing": routing}
    line.start()
    line.submit("first")
    await line.result("first")
    put_off += [Retry("not now", 3.0), Retry("not now", 3.0)]
    line.submit("j1")
    await line.until(lambda: line.broker.records("retries.10s"))
    assert not put_off
    line.clock.move(4)
    assert (await line.result("j1"))["status"] == "accepted"
    assert admitted(line) == 3  # the first of all, the one put off, and that one again

"""What is added during a commit is committed next, whatever it is and whatever else there is."""

import asyncio
import contextlib

import pytest

from streams.assignment import Assignment
from streams.records import Address, Delivery, Emission, Finished, Raw
from streams.transactions import Transactions


class Slow:
    """A publisher whose commits last until they are let go."""

    def __init__(self):
        self.begun = asyncio.Queue()
        self.go = asyncio.Semaphore(0)

    async def commit(self, batch):
        """Say what is being committed, then wait to be let go."""
        self.begun.put_nowait([one.partition for commit in batch.commits for one in commit.positions])
        await self.go.acquire()


def assignment(partition):
    """A partition whose first record is being worked on."""
    begun = Assignment("t", partition)
    begun.begin_at(0)
    begun.start(0)
    return begun


class Adding:
    """What stages do: have notes and outcomes committed."""

    def __init__(self, transactions):
        self.transactions = transactions

    async def note(self, partition):
        """Have a note committed."""
        await self.transactions.note("source", [assignment(partition)])

    async def stranger(self, partition):
        """Have an outcome of another group committed."""
        await self.outcome(partition, source="other")

    async def outcome(self, partition, *, urgent=True, source="source"):
        """Have an outcome committed."""
        done = asyncio.Event()
        delivery = Delivery(Address("t", partition, 0), 0, Raw(None, None), assignment(partition))
        self.transactions.add(source, Finished(delivery, Emission(urgent=urgent)), done.set)
        await done.wait()


@contextlib.asynccontextmanager
async def committing(publisher):
    """Commits go on while the block runs; it ends when all that was added in it is committed."""
    transactions = Transactions(publisher)
    running = asyncio.create_task(transactions.run())
    async with asyncio.timeout(5):
        async with asyncio.TaskGroup() as tasks:
            yield Adding(transactions), tasks
        await transactions.drained()
    running.cancel()


@pytest.mark.parametrize("later", ["note", "outcome"])
@pytest.mark.parametrize("first", ["note", "outcome"])
def test_what_is_added_during_a_commit_is_committed_next(first, later):
    """A note or an outcome that comes while either is being committed does not wait for a third to wake the loop."""

    async def run():
        publisher = Slow()
        async with committing(publisher) as (adding, tasks):
            tasks.create_task(getattr(adding, first)(0))
            assert await publisher.begun.get() == [0]
            tasks.create_task(getattr(adding, later)(1))
            await asyncio.sleep(0)  # it has been added: nothing in between waits for anything
            publisher.go.release()
            assert await publisher.begun.get() == [1]
            publisher.go.release()

    asyncio.run(run())


@pytest.mark.parametrize("company", ["note", "outcome", "stranger", "drained", "nothing"])
def test_what_nobody_waits_for_is_committed_with_its_group_or_after_a_moment(company):
    """It starts no transaction of its own while another may follow, and is never forgotten."""

    async def run():
        publisher = Slow()
        async with committing(publisher) as (adding, tasks):
            tasks.create_task(adding.outcome(0, urgent=False))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert publisher.begun.empty()
            publisher.go.release()
            publisher.go.release()
            if company == "drained":
                await adding.transactions.drained()
            elif company != "nothing":
                await getattr(adding, company)(1)
        return [publisher.begun.get_nowait() for _ in range(publisher.begun.qsize())]

    committed = {"note": [[1], [0]], "outcome": [[0, 1]], "stranger": [[1], [0]], "drained": [[0]], "nothing": [[0]]}
    assert asyncio.run(run()) == committed[company]

"""What Source and Publisher promise, asked of the memory broker and of Kafka alike."""

import asyncio

import pytest

from streams.batch import batch_of
from streams.errors import SlotTaken
from streams.ledger import LEDGER
from streams.records import Delivery, Emission, Finished, Record
from streams.state import PartitionState
from streams.topics import PARTITIONS


def records(count):
    return [Record("in", b"k%d" % (n % 3), b"%d" % n) for n in range(count)]


async def take(source, count):
    """Take exactly so many deliveries, marking each as started; those committed before are left out."""
    taken = []
    async with asyncio.timeout(20):
        while len(taken) < count:
            found = await source.take(count - len(taken))
            taken.extend(one for one in found if one.assignment.start(one.address.offset))
    return taken


def echo(delivery: Delivery) -> Finished:
    out = Record("out", delivery.raw.key, delivery.raw.value)
    return Finished(delivery, Emission((out,)))


def values(raws):
    return sorted(int(raw.value) for raw in raws)


async def test_every_record_is_delivered_once_and_in_order_within_its_partition(broker):
    """A source delivers each record once; offsets of a partition ascend."""
    await broker.put(*records(30))
    source = await broker.source()
    taken = await take(source, 30)
    assert values(one.raw for one in taken) == list(range(30))
    for partition in {one.address.partition for one in taken}:
        offsets = [one.address.offset for one in taken if one.address.partition == partition]
        assert offsets == sorted(set(offsets))


async def test_outcomes_of_finished_records_are_committed_with_their_offsets(broker):
    """After a commit the outcomes can be read, and the next owner is not given those records again."""
    await broker.put(*records(10))
    source, publisher = await broker.source(), await broker.publisher()
    taken = await take(source, 10)
    await publisher.commit(batch_of((source, echo(one)) for one in taken))
    await source.close()
    assert values(await broker.committed("out", 10)) == list(range(10))
    await broker.put(Record("in", b"k0", b"99"))
    successor = await broker.source()
    assert values(one.raw for one in await take(successor, 1)) == [99]


async def test_a_key_is_where_a_state_looks_for_it(broker):
    """The partition that a state takes for a key's is the one that the publisher writes it to."""
    await broker.put(*records(40))
    source, publisher = await broker.source(), await broker.publisher()
    taken = await take(source, 40)
    again = [Finished(one, Emission((Record("in", b"key %d" % n, b"%d" % n),))) for n, one in enumerate(taken)]
    await publisher.commit(batch_of((source, one) for one in again))
    states = [PartitionState(LEDGER, partition, PARTITIONS) for partition in range(PARTITIONS)]
    for one in await take(source, 40):
        assert [state.partition for state in states if state.is_place_of(one.raw.key)] == [one.address.partition]


async def test_what_finished_out_of_order_is_not_run_again_by_the_next_owner(broker):
    """Records finished above an unfinished one are in the commit's metadata: only the unfinished come back."""
    await broker.put(*(Record("in", b"same", b"%d" % n) for n in range(20)))
    source, publisher = await broker.source(), await broker.publisher()
    taken = await take(source, 20)
    done = [one for one in taken if int(one.raw.value or b"") not in {3, 11}]
    await publisher.commit(batch_of((source, echo(one)) for one in done))
    await source.close()
    successor = await broker.source()
    assert values(one.raw for one in await take(successor, 2)) == [3, 11]


async def test_an_outcome_of_an_assignment_that_is_gone_is_dropped(broker):
    """Outcomes whose partition was taken away are not published; the new owner's are."""
    await broker.put(*records(6))
    source, publisher = await broker.source(), await broker.publisher()
    taken = await take(source, 6)
    batch = batch_of((source, echo(one)) for one in taken)
    for assignment in {one.assignment for one in taken}:
        assignment.live = False
    await publisher.commit(batch)
    await source.close()
    successor = await broker.source()
    again = await take(successor, 6)
    await publisher.commit(batch_of((successor, echo(one)) for one in again))
    assert values(await broker.committed("out", 6)) == list(range(6))


async def test_a_later_owner_of_the_slot_fences_the_earlier_one(broker):
    """Two publishers in one slot: the earlier may commit nothing more and says that the slot is taken."""
    await broker.put(*records(4))
    source = await broker.source()
    earlier = await broker.publisher()
    later = await broker.publisher()
    taken = await take(source, 4)
    with pytest.raises(SlotTaken, match="slot"):
        await earlier.commit(batch_of((source, echo(one)) for one in taken[:2]))
    del later
    assert values(await broker.committed("out", 0)) == []


async def test_a_stopped_source_returns_nothing(broker):
    """`take` that waits ends with nothing when the source is stopped."""
    source = await broker.source()
    waiting = asyncio.create_task(source.take(5))
    await asyncio.sleep(0)
    await source.stop()
    async with asyncio.timeout(10):
        assert list(await waiting) == []

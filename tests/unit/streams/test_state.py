"""What an ordered stage remembers: restored as it was, refused when the changelog does not say the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.state import Seen
from streams.errors import StateLost
from streams.ledger import LEDGER
from streams.state import MARK, PartitionState

KEYS = st.text(min_size=1, max_size=8).map("job/t/{}".format)
STEPS = st.lists(st.tuples(KEYS, st.one_of(st.none(), st.integers(0, 9))), max_size=40)


def seen(number, at=0):
    return Seen(rung=number, changed_ms=at)


def written(state, steps):
    """Apply the steps, two in a transaction, and return the changelog that they leave."""
    log = []
    for number, (key, value) in enumerate(steps):
        if value is not None:
            state.put(key, seen(value))
        elif state.get(key) is not None:
            state.drop(key)
        if number % 2:
            log.extend(state.changes())
    return [*log, *state.changes()]


def restored(log, *, expected=True, partitions=6, partition=0):
    state = PartitionState(LEDGER, partition, partitions)
    for record in log:
        state.restore(record.key, record.value)
    state.restored(expected=expected)
    return state


def compacted(log):
    """The log as compaction may leave it: the last record of each key, tombstones gone."""
    last = {record.key: record for record in log}
    return [record for record in log if last[record.key] is record and record.value is not None]


@given(STEPS)
def test_a_state_comes_back_from_its_changelog_compacted_or_not(steps):
    """Whatever was put and dropped, the entries that the log leaves are those that were there."""
    state = PartitionState(LEDGER, 0, 6)
    log = written(state, steps)
    for left in (log, compacted(log)):
        again = restored(left, expected=False)
        assert dict(again.oldest()) == dict(state.oldest())


@given(STEPS.filter(lambda steps: any(value is not None for _, value in steps)), st.data())
def test_a_record_that_was_lost_is_noticed(steps, data):
    """A changelog that lacks the newest change of any entry is refused with the choice named."""
    log = compacted(written(PartitionState(LEDGER, 0, 6), steps))
    entries = [record for record in log if record.key != MARK.encode()]
    if not entries:
        return
    gone = data.draw(st.sampled_from(entries))
    with pytest.raises(StateLost, match=r"disagree.*penstock state reset"):
        restored([record for record in log if record is not gone])


def test_a_changelog_that_is_gone_is_noticed():
    """A stage that has committed before does not start with an empty memory unasked."""
    with pytest.raises(StateLost, match=r"routing-state/0 has 0 entries and no mark.*lost or cut off"):
        restored([])
    assert len(restored([], expected=False)) == 0


def test_another_number_of_partitions_is_noticed():
    """Keys are spread over partitions, so a state of six is none of eight."""
    state = PartitionState(LEDGER, 0, 6)
    state.put("job/t/1", seen(1))
    with pytest.raises(StateLost, match="had 6 partitions; now it has 8"):
        restored(state.changes(), partitions=8)


def test_something_else_on_the_changelog_is_named():
    """A record that is no state stops the stage, with its key."""
    state = PartitionState(LEDGER, 3, 6)
    state.restore(b"x", b"nonsense")
    with pytest.raises(StateLost, match=r"routing-state/3 .* under the key 'x'"):
        state.restored(expected=True)


def test_time_never_goes_back():
    """A clock that jumps back does not make what was stored look newer than now; that holds after a restore too."""
    state = PartitionState(LEDGER, 0, 6)
    assert (state.now(5_000), state.now(3_000), state.now(6_000)) == (5_000, 5_000, 6_000)
    state.put("job/t/1", seen(0))
    assert restored(state.changes()).now(1) == 6_000

"""How a killer is found: groups that halve, then alone; an operator's kills never give a record up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.assignment import Assignment
from streams.commit_metadata import decode, encode
from streams.isolation import ALONE_DEATHS, AS_USUAL_DEATHS, CLEAN, Note, begin


class Partition:
    """A log with some records that kill, worked on by one owner after another, as a runner does it."""

    def __init__(self, records, killers, concurrency):
        self.killers = set(killers)
        self.records = records
        self.concurrency = concurrency
        self.committed = None
        self.done = set()
        self.given_up = []
        self.deaths = 0

    def commit(self, owner):
        self.committed = (owner.position.base, encode(owner.position))

    def live(self, patience=10**9):
        """One owner's life: it ends when a killer runs, when all is done, or after so many groups (an operator)."""
        owner = Assignment("t", 0)
        owner.begin_at(0)
        if self.committed is not None:
            owner.restore(decode(*self.committed), self.concurrency, self.records)
        self.commit(owner)
        while todo := [offset for offset in range(self.records) if offset not in self.done]:
            size = owner.note.limit if owner.suspects(todo[0]) else self.concurrency
            group = [offset for offset in todo[:size] if owner.start(offset)]
            if owner.suspects(todo[0]):
                owner.run_apart()
                self.commit(owner)
            if patience == 0:
                self.deaths += 1
                return
            patience -= 1
            if owner.condemns(group[0]):
                self.given_up.append(group[0])
            elif self.killers.intersection(group):
                self.deaths += 1
                return
            for offset in group:
                owner.finish(offset)
            self.done.update(group)
            self.commit(owner)


@pytest.mark.parametrize("place", [0, 1, 31, 63, 64, 200, 499])
def test_a_killer_is_given_up_and_nothing_else(place):
    """Wherever it lies, it costs two lives as usual, some in halving groups, three alone."""
    partition = Partition(500, {place}, 64)
    while len(partition.done) < 500:
        partition.live()
    assert partition.given_up == [place]
    assert partition.deaths <= AS_USUAL_DEATHS + 7 + ALONE_DEATHS


@given(st.sets(st.integers(0, 99), max_size=4), st.integers(1, 64))
def test_several_killers_are_all_found(killers, concurrency):
    """Each is given up, every other record is done."""
    partition = Partition(100, killers, concurrency)
    for _ in range(200):
        partition.live()
        if len(partition.done) == 100:
            break
    assert sorted(partition.given_up) == sorted(killers)


@given(st.lists(st.integers(1, 5), min_size=30, max_size=60), st.integers(1, 64))
def test_kills_further_apart_than_the_slowest_record_give_up_nothing(lives, concurrency):
    """Thirty and more owners killed in a row, each after it has finished at least one group: no record is suspected."""
    partition = Partition(2_000, set(), concurrency)
    for groups in lives:
        partition.live(groups)
    assert partition.given_up == []


def test_a_release_in_good_order_clears_what_was_noted():
    """An owner that was told to stop leaves no suspicion, however often that happens."""
    note = CLEAN
    for _ in range(10):
        note = begin(note, 8)
        assert note == Note(deaths=1)
        owner = Assignment("t", 0)
        owner.note = note
        owner.release()
        note = owner.position.note


def test_a_partition_whose_suspects_only_waited_is_not_blamed():
    """While another partition's suspects ran, what waited keeps its count."""
    waited = Note(deaths=5, limit=1, alone=2)
    assert begin(waited, 1) == Note(deaths=6, limit=1, alone=2)


def test_even_reading_a_killer_can_be_left_out():
    """After one more death than it takes to give a record up, it is given up unread."""
    note = Note(deaths=9, limit=1, alone=ALONE_DEATHS, apart=True)
    assert note.condemns
    assert not note.only_raw
    assert begin(note, 1).only_raw

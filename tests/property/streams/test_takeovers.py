"""Watermark, commit metadata and restore against a plain model: which records ran, which outcomes were committed."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streams.assignment import Assignment
from streams.commit_metadata import MAX_CHARACTERS, MAX_UNFINISHED, Position, decode, encode


class Owner:
    """A process with the partition, and what only it knows."""

    def __init__(self, position):
        self.assignment = Assignment("t", 0)
        if position is not None:
            self.assignment.restore(position)
        self.next_read = 0 if position is None else position.base
        self.running = set()
        self.finished = set()  # part of its next commit


class Takeovers(RuleBasedStateMachine):
    """A log with holes, owners that start, finish, commit, crash or lose the partition; the model is three sets."""

    def __init__(self):
        super().__init__()
        self.log = []
        self.end = 0
        self.committed = set()  # the model: whose outcomes took place
        self.commit = None  # what the broker holds: offset and metadata
        self.owner = Owner(None)
        self.past = []

    @rule(count=st.integers(1, 5), hole=st.integers(0, 4))
    def append(self, count, hole):
        """Records appear, after a hole that markers or compaction left."""
        first = self.end + hole
        self.log.extend(range(first, first + count))
        self.end = first + count

    @precondition(lambda self: self.owner.next_read < self.end)
    @rule(count=st.integers(1, 6))
    def start(self, count):
        """The owner reads on: exactly what was not committed runs, and nothing runs twice in one assignment."""
        for offset in [one for one in self.log if one >= self.owner.next_read][:count]:
            started = self.owner.assignment.start(offset)
            assert started == (offset not in self.committed)
            if started:
                assert offset not in self.owner.running | self.owner.finished
                self.owner.running.add(offset)
            self.owner.next_read = offset + 1

    @precondition(lambda self: self.owner.running)
    @rule(data=st.data())
    def finish(self, data):
        """Some of what runs finishes, in any order; nothing is committed yet."""
        for offset in data.draw(st.sets(st.sampled_from(sorted(self.owner.running)), min_size=1)):
            self.owner.assignment.finish(offset)
            self.owner.running.remove(offset)
            self.owner.finished.add(offset)

    @precondition(lambda self: self.owner.finished)
    @rule()
    def commit_finished(self):
        """The transaction takes place: outcomes and position at once."""
        position = self.owner.assignment.position
        self.commit = (position.base, encode(position))
        assert len(self.commit[1]) <= MAX_CHARACTERS
        assert decode(*self.commit) == position
        self.committed |= self.owner.finished
        self.owner.finished = set()

    @rule(forget=st.booleans())
    def another_takes_over(self, forget):
        """The owner crashes or loses the partition: what it has not committed is lost with it."""
        self.owner.assignment.live = False
        self.past.append(self.owner)
        if forget:  # the log loses its first record that is not done, as by retention
            undone = [offset for offset in self.log if offset not in self.committed]
            self.log = [offset for offset in self.log if offset not in undone[:1]]
        self.owner = Owner(decode(*self.commit) if self.commit else None)

    @precondition(lambda self: self.past and self.past[-1].running)
    @rule(data=st.data())
    def the_one_before_finishes_something(self, data):
        """A zombie's outcomes move its own watermark at most: its token is dead, so they are dropped."""
        zombie = self.past[-1]
        offset = data.draw(st.sampled_from(sorted(zombie.running)))
        zombie.assignment.finish(offset)
        zombie.running.remove(offset)
        assert not zombie.assignment.live
        assert self.owner.assignment.live

    @precondition(lambda self: self.commit)
    @invariant()
    def what_the_broker_holds_is_the_model(self):
        """Of the records that exist, those count as finished whose outcomes were committed, and no others."""
        position = decode(*self.commit)
        assert {offset for offset in self.log if position.finished(offset)} == self.committed & set(self.log)

    @invariant()
    def a_commit_now_would_say_what_is_so(self):
        """What the owner would commit covers what was committed or is finished, of all that it has read."""
        if not self.owner.running | self.owner.finished:
            return
        position = self.owner.assignment.position
        read = [offset for offset in self.log if offset < self.owner.next_read]
        done = self.committed | self.owner.finished
        assert [offset for offset in read if position.finished(offset)] == [one for one in read if one in done]
        assert not any(position.finished(one) for one in self.log if one >= self.owner.next_read and one not in done)


Takeovers.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestTakeovers = Takeovers.TestCase


def test_as_many_unfinished_as_a_stage_may_have_fit_into_a_commit():
    """The metadata of the most that may be in work, each several offsets from the next, fits into what Kafka takes."""
    unfinished = tuple(range(10**9, 10**9 + MAX_UNFINISHED * 100, 100))
    position = Position(unfinished[0], unfinished[-1], unfinished)
    text = encode(position)
    assert len(text) <= MAX_CHARACTERS
    assert decode(position.base, text) == position

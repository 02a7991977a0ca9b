"""The watermark against a plain model: a set of started and a set of finished offsets."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streams.assignment import Assignment
from streams.commit_metadata import decode, encode


class Watermark(RuleBasedStateMachine):
    """Starts (with holes), finishes in any order, and changes of owner after a commit."""

    def __init__(self):
        super().__init__()
        self.assignment = Assignment("t", 0)
        self.log = []  # offsets that exist, ascending
        self.next_new = 0
        self.to_deliver = []
        self.running = set()
        self.done = set()  # finished and part of the last commit
        self.committed = None

    @rule(hole=st.integers(0, 3))
    def append(self, hole):
        """A record appears, after a hole of markers."""
        offset = self.next_new + hole
        self.next_new = offset + 1
        self.log.append(offset)
        self.to_deliver.append(offset)

    @precondition(lambda self: self.to_deliver)
    @rule()
    def deliver(self):
        """The next record is delivered: it runs unless its outcome was committed."""
        offset = self.to_deliver.pop(0)
        started = self.assignment.start(offset)
        assert started == (offset not in self.done)
        if started:
            self.running.add(offset)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish_and_commit(self, data):
        """Some running records finish, and their outcomes are committed."""
        chosen = data.draw(st.sets(st.sampled_from(sorted(self.running)), min_size=1))
        for offset in chosen:
            self.assignment.finish(offset)
        self.running -= chosen
        self.done |= chosen
        position = self.assignment.position
        self.committed = (position.base, encode(position))

    @precondition(lambda self: self.committed)
    @rule(vanish=st.booleans())
    def change_owner(self, vanish):
        """The owner dies: what ran is lost, the next one starts at the commit; the log may have lost a record."""
        position = decode(*self.committed)
        if vanish and (lost := [offset for offset in self.log if offset not in self.done]):
            self.log.remove(lost[0])
            self.done.add(lost[0])
        self.assignment = Assignment("t", 0)
        self.assignment.restore(position)
        self.running = set()
        self.to_deliver = [offset for offset in self.log if offset >= position.base]

    @invariant()
    def nothing_unfinished_lies_below_the_watermark(self):
        """A commit now would lose no record, and run none again but those in flight."""
        if not self.running and self.committed is None:
            return
        position = self.assignment.position
        for offset in self.log:
            if offset not in self.done and offset not in self.to_deliver:
                assert not position.finished(offset)
            if offset in self.done and offset in self.log:
                assert position.finished(offset) or offset in self.to_deliver


Watermark.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestWatermark = Watermark.TestCase

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from streams.assignment import Assignment
from streams.delays import DelayWork
from streams.header_names import DUE, FIRST_SEEN, ORIGIN, RETURN_TOPIC, ROUND
from streams.records import Address, Delivery, Raw
from streams.stage import Moment
from streams.tiers import TIERS, tier_for
from streams.wire import waiting_record

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
OWN = st.lists(st.tuples(st.sampled_from(["mine", "traceparent", "penstock-claim"]), st.binary(max_size=9)), max_size=3)


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self, skew_s=0.0):
        self.now, self.slept = START + timedelta(seconds=skew_s), []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        assert seconds > 0
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)


def taken(record, at):
    place = Address(record.topic, 0, 7)
    raw = Raw(record.key, record.value, record.headers)
    return Delivery(place, int(at.timestamp() * 1000), raw, Assignment(record.topic, 0))


def begin(after_s, headers=()):
    """A record that has just begun to wait, and the delivery that it was made of."""
    read = Delivery(Address("admitted", 3, 9), 1_000, Raw(b"acme", b"bytes", tuple(headers)), Assignment("admitted", 3))
    moment = Moment(START, 0.0, 0.0, "w", 0, rounds_waited=4)
    return waiting_record("admitted", read.raw, read, after_s, moment)


@given(st.floats(0, 20_000), OWN)
async def test_a_record_waits_exactly_its_time_in_pieces(after_s, headers):
    """From tier to tier it comes back when it is due, as it was, and no look at it counts as a try."""
    clock, record = Clock(), begin(after_s, headers)
    waited = dict(record.headers)
    assert record.topic == tier_for(after_s).topic.name
    for _ in range(100):
        tier = next((tier for tier in TIERS if tier.topic.name == record.topic), None)
        if tier is None:
            break
        before = clock.now
        (record,) = (await DelayWork(tier, "g", "w", clock.sleep, clock)(taken(record, clock.now))).records
        assert (clock.now - before).total_seconds() <= tier.longest_s + 0.001
    late_s = (clock.now - START).total_seconds() - after_s
    assert -0.002 <= late_s <= 0.002
    back = dict(record.headers)
    assert (record.topic, record.key, record.value) == ("admitted", b"acme", b"bytes")
    assert [back[name] for name in (ROUND, FIRST_SEEN, ORIGIN)] == [b"5", b"1000", b"admitted/3/9"]
    assert not {RETURN_TOPIC, DUE} & back.keys()
    assert waited.keys() - back.keys() == {RETURN_TOPIC, DUE}
    assert {name for name, _ in headers} <= back.keys()


@given(st.floats(0, 100_000), st.floats(-3_600, 3_600))
async def test_clocks_that_disagree_make_no_tier_spin(after_s, skew_s):
    """However far a worker's clock is off, a record that is not due is held a moment before it is put off again."""
    clock, record = Clock(skew_s), begin(after_s)
    tier = next(tier for tier in TIERS if tier.topic.name == record.topic)
    (after,) = (await DelayWork(tier, "g", "w", clock.sleep, clock)(taken(record, START))).records
    assert after.topic == "admitted" or sum(clock.slept) >= 1.0
    assert sum(clock.slept) <= tier.longest_s


@given(st.floats(0, 1e9))
def test_a_tier_is_as_long_as_needed_and_no_longer(wait_s):
    """Ten seconds, five minutes, and everything else in pieces of five minutes."""
    fits = [tier for tier in TIERS if wait_s <= tier.longest_s]
    assert tier_for(wait_s) is (fits[0] if fits else TIERS[-1])

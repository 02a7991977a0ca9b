from hypothesis import given
from hypothesis import strategies as st

from processors.policy.breaker import Breaker, Health, Limits, State

events = st.lists(
    st.tuples(st.floats(0.0, 20.0), st.sampled_from([*Health, None]), st.booleans()), min_size=1, max_size=60
)


@given(events)
def test_no_more_than_one_probe_and_never_a_call_while_it_is_open(happened):
    """Whatever ends when: open lets nothing through, half-open one at a time, and a wait is never over too early."""
    breaker, now, probing, open_until = Breaker(Limits()), 0.0, 0, 0.0
    for after, health, asks in happened:
        now += after
        if asks:
            before = breaker.state
            wait = breaker.wait_s(now)
            if before is State.OPEN and now < open_until:
                assert 0 < wait <= 30.0
            if wait == 0 and breaker.state is State.HALF_OPEN:
                probing += 1
                assert probing == 1
        if health is not None and (breaker.state is not State.HALF_OPEN or probing):
            was = breaker.state
            breaker.ended(health, now)
            probing = 0 if was is State.HALF_OPEN else probing
            if breaker.state is State.OPEN and was is not State.OPEN:
                open_until = now + 30.0
        if breaker.state is not State.HALF_OPEN:
            probing = 0

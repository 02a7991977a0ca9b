"""SIGTERM at a bad moment: a process ends in good order, whatever its clients are at."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from lab.site import Site

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

MOMENTS_S = (0.3, 0.4, 0.5, 0.6, 0.5, 0.4)
"""After a process is ready its consumers are given their partitions: one of three sinks that were told to stop then
hung for ever, before the subscription was ended first."""


def test_a_sink_that_is_told_to_stop_while_it_gets_its_partitions_ends(stack, eventually):
    """It does not wait for its client, and says that it has ended well."""

    def stopped(number):
        site = Site(stack, f"stops{number}")
        try:
            sink = site.start("sink")
            assert sink.exit_code() is None
            moment = time.monotonic() + MOMENTS_S[number]
            eventually(lambda: time.monotonic() >= moment)
            sink.signal(signal.SIGTERM)
            eventually(lambda: sink.exit_code() is not None, 30)
            return sink.exit_code()
        finally:
            site.close()

    with ThreadPoolExecutor(2) as both:
        assert list(both.map(stopped, range(len(MOMENTS_S)))) == [0] * len(MOMENTS_S)

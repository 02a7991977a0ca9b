"""A sink that is frozen, loses its partitions, and wakes up with rows and positions of its own."""

import signal

import pytest
from checker.topics import read_all
from checker.traces import stored, traced, wrong_rows
from lab.children import wait_for

from streams.pipeline import REVIEWS, STAGES

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

SHORT = {"PENSTOCK_KAFKA__SESSION_TIMEOUT_MS": "6000"}
QUICK_MS = 20


def test_a_frozen_sink_that_wakes_up_late_does_no_harm(site, stack):
    """Its partitions moved on; its rows collapse, its positions take back nothing, and every row is there once."""
    site.models.set_latency(QUICK_MS)
    stages = site.start(*STAGES, REVIEWS)
    zombie = site.start("sink", **SHORT)
    first = site.publish(120)
    wait_for(lambda: site.rows("jobs") >= 50, "some rows of jobs", alive=(stages, zombie))
    zombie.signal(signal.SIGSTOP)
    try:
        heir = site.start("sink", **SHORT)
        site.wait_for_ends(len(first), alive=(stages, heir))
        wait_for(lambda: site.rows("v_jobs") == len(first), "the heir's rows", alive=(stages, heir))
    finally:
        zombie.signal(signal.SIGCONT)
    second = site.publish(80, len(first))
    site.wait_for_ends(len(first) + len(second), alive=(stages, heir))
    assert stages.terminate(60) == 0
    on_topic = traced(read_all(stack.broker, f"{site.settings.prefix}traces"))
    wait_for(lambda: not wrong_rows(on_topic, stored(site.warehouse, on_topic)), "every row, once", alive=(heir,))
    assert site.rows("v_trace_gaps") == 0
    assert site.rows("dead_letters") == 0

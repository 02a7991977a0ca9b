"""Several workers under one supervisor on the real stack: one is killed, all are scraped, all are drained."""

import json
import os
import re
import signal
import time
import urllib.request
from dataclasses import replace

import pytest
from checker.evidence import broken
from checker.ledger import Ledger, kill
from lab.children import Child, module, wait_for
from lab.site import ROOT

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

SLOW_MS = 1_000
QUICK_MS = 20
JOBS = 250
READY_S = 120.0  # two starts, one after the other, on a busy machine
HEALTH = {"PENSTOCK_HEALTH_PORT": "0"}
FINISHED = 'penstock_records_finished_total{outcome="%s",stage="grading"}'


def lines(child, event):
    """The log lines of an event."""
    said = (line for line in child.said().splitlines() if line.startswith("{"))
    return [line for line in map(json.loads, said) if line["event"] == event]


def scrape_each(child):
    """The metrics of each worker that serves them, by name and labels."""
    for line in lines(child, "health"):
        try:
            with urllib.request.urlopen(line["url"] + "/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:  # that of a dead worker
            continue
        yield {name: float(value) for name, value in re.findall(r"^(penstock_\S+) (\S+)$", text, re.MULTILINE)}


def shares(child):
    """Partitions of `routed` that each worker owns."""
    name = 'penstock_partitions_owned{stage="inference",topic="routed"}'
    return [metrics.get(name, 0) for metrics in scrape_each(child)]


@pytest.fixture
def fleet(site):
    """Two workers of everything under one supervisor, each with a health endpoint of its own."""
    command = module("penstock.cli", "--project", str(ROOT), "run", "--workers", "2")
    child = Child(command, site.settings.data_dir / "logs" / f"{site.name}-fleet.log", site.environment() | HEALTH)
    try:
        wait_for(lambda: len(lines(child, "worker ready")) == 2, "two workers", READY_S, alive=(child,))
        # A partition that changes hands takes the calls in flight for it along: they would be made again.
        wait_for(lambda: shares(child) == [3, 3], "an equal share for each", alive=(child,))
        yield child
    finally:
        child.close()


def test_a_killed_worker_is_replaced_while_the_other_goes_on(site, fleet):
    """Every job ends once; what a worker counts is what is on record of it; all drain with exit code 0."""
    site.models.set_latency(SLOW_MS)
    published = site.publish(JOBS)
    wait_for(lambda: site.models.open_calls() >= 50, "50 open calls", alive=(fleet,))
    victim = lines(fleet, "worker ready")[1]
    began = time.time()
    os.kill(victim["pid"], signal.SIGKILL)
    (ended,) = wait_for(lambda: lines(fleet, "worker ended"), "the death on record", alive=(fleet,))
    assert (ended["number"], ended["why"]) == (victim["number"], "SIGKILL")
    died = replace(kill(began), ended=time.time())
    site.models.set_latency(QUICK_MS)
    site.wait_for_ends(JOBS, alive=(fleet,))
    wait_for(lambda: len(lines(fleet, "worker ready")) == 3, "the next worker", alive=(fleet,))
    assert not broken(site.evidence(Ledger(published, faults=[died]), alive=(fleet,)))

    survivor = next(iter(scrape_each(fleet)))
    name = next(re.search(r'worker="([^"]+)"', key)[1] for key in survivor if key.startswith("penstock_worker_info"))
    seen = "SELECT outcome, count() FROM stage_events FINAL "
    seen += f"WHERE (stage, worker) = ('grading', '{name}') GROUP BY outcome"
    stored = {outcome: int(count) for outcome, count in site.warehouse.ask(seen)}
    assert stored
    assert stored == {outcome: survivor[FINISHED % outcome] for outcome in stored}
    wait_for(lambda: shares(fleet) == [3, 3], "an equal share for each again", alive=(fleet,))
    assert all(in_flight == 0 for key, in_flight in survivor.items() if key.startswith("penstock_records_in_flight"))
    assert fleet.terminate(site.settings.drain_s + 15) == 0
    assert len(lines(fleet, "stopped")) == 2


def test_what_can_t_be_finished_in_time_is_left_to_the_next_owner(site):
    """With a provider slower than the drain time a worker still ends with 0 in time, and nothing is lost or doubled."""
    site.models.set_latency(20 * SLOW_MS)
    leaving = site.launch(PENSTOCK_DRAIN_S="1")
    leaving.wait_until_it_says('"ready"')
    published = site.publish(60)
    wait_for(lambda: site.models.open_calls() >= 50, "50 open calls", alive=(leaving,))
    began = time.time()
    assert leaving.terminate(15) == 0
    left = replace(kill(began), ended=time.time())
    assert left.ended - began < 12
    site.models.set_latency(QUICK_MS)
    successor = site.start()
    site.wait_for_ends(len(published), alive=(successor,))
    assert not broken(site.evidence(Ledger(published, faults=[left]), alive=(successor,)))

"""A person's command that dies half-way: what was done stands, what was not is done by the next, nothing twice."""

import json
import signal
from datetime import UTC, datetime

import pytest
from checker.topics import read_all
from lab.children import Child, module
from lab.site import ROOT, job

from penstock.lines import connection
from streams.assignment import Assignment
from streams.dispatch import dead_letter
from streams.kafka.admin import ensure_topics
from streams.kafka.desk import Desk
from streams.records import Address, Delivery, Raw
from streams.stage import Moment
from streams.topics import TOPICS

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

LETTERS = 60
KILLED_AT = (8, 25)
"""Jobs that are on their topic again when the command is killed: once early, once later."""


@pytest.fixture
def letters(site):
    """Dead letters of jobs that intake gave up on, nobody has dealt with one."""
    link = connection(site.settings)
    ensure_topics(link, TOPICS)
    moment = Moment(datetime.now(UTC), 0.0, 0.0, "w", 0, 0)
    records = []
    for number in range(LETTERS):
        taken = Delivery(Address("jobs", 0, number), 1000, Raw(None, job(f"j{number}", number)), Assignment("jobs", 0))
        records += dead_letter("intake", "g", taken, KeyError("made up"), moment).records
    with Desk(link, "letters", "nothing") as desk:
        desk.commit(records)
    return [str(number) for number in range(LETTERS)]


def of_letters(site, topic, read):
    """What the committed records of a topic say whose they are, in any order."""
    return [read(message) for message in read_all(site.settings.broker, f"{site.settings.prefix}{topic}")]


def test_letters_are_redriven_once_although_the_command_is_killed(site, letters, eventually):
    """Two `kill -9` at a rate of forty a second: every letter has one new job and one record of who redrove it."""
    runs = iter(range(9))

    def command():
        line = module("penstock.cli", "--project", str(ROOT), "dlq", "redrive", "--all", "--why", "again", "--json")
        log = site.settings.data_dir / "logs" / f"{site.name}-redrive-{next(runs)}.log"
        return Child((*line, "--rate", "40"), log, site.environment())

    def redriven():
        return of_letters(site, "jobs", lambda message: dict(message.headers())["penstock-redrive-of"].decode())

    for enough in KILLED_AT:
        killed = command()
        eventually(lambda enough=enough: len(redriven()) >= enough, 60)
        assert killed.exit_code() is None
        killed.signal(signal.SIGKILL)
        eventually(lambda killed=killed: killed.exit_code() is not None)
        assert len(redriven()) < len(letters)
    last = command()
    eventually(lambda: last.exit_code() is not None, 60)
    assert last.exit_code() == 0, last.said()
    assert len(json.loads(last.said())["done"]) + KILLED_AT[1] <= len(letters)
    found = redriven()
    assert len(found) == len(set(found)) == len(letters)
    acted = of_letters(site, "dead-letter-actions", lambda message: message.key().decode())
    assert sorted(acted) == sorted(found)

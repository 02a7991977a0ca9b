"""Jobs from topics that exist for other purposes."""

import json

import pytest

from schemas.job_map import JobMap
from streams.records import Record
from streams.sources import Source

ORDERS = Source("orders", JobMap("sorting", "/order", job_id="/id", tenant="/shop"))


@pytest.fixture
async def mapped(line):
    """The pipeline with a topic of somebody else's as a source."""
    await line.stop()
    line.sources = (ORDERS,)
    line.start()
    return line


def put(line, value):
    line.broker.append(Record("orders", b"k", json.dumps(value).encode()))


async def test_each_record_is_one_job_and_its_topic_stays_as_it_is(mapped):
    """Twice the same id is one job; nothing is ever written to a topic of others."""
    order = {"id": "o1", "shop": "acme", "order": {"text": "my card"}, "more": 1}
    for _ in range(2):
        put(mapped, order)
    result = await mapped.result("o1")
    assert (result["status"], result["tenant"]) == ("accepted", "acme")
    await mapped.until(lambda: len(mapped.broker.records("jobs")) == 2 and not mapped.unfinished())
    assert len(mapped.broker.records("orders")) == 2
    assert len(mapped.results()) == 1


async def test_a_record_that_is_no_job_is_a_dead_letter(mapped):
    """It is kept as it came, with what was found."""
    put(mapped, {"id": "o2", "shop": "acme"})
    (letter,) = await mapped.until(lambda: mapped.broker.records("dead-letters"))
    headers = dict(letter.headers)
    assert headers["__dlq.errors.topic"] == b"orders"
    assert headers["__dlq.errors.message"] == b"the record has nothing at /order"

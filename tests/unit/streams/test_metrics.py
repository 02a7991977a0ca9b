"""What is counted of a committed batch, and that every metric can be looked up."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest

from schemas.dead_letter_events import DeadLetterEvent
from schemas.trace import StageEvent
from sinks.errors import WarehouseAway
from streams import metrics
from streams.assignment import Assignment
from streams.batch import Batch
from streams.metered import MeteredPublisher, MeteredSink
from streams.records import Address, Delivery, Emission, Finished, Raw

AT = datetime(2026, 1, 1, tzinfo=UTC)
DOCS = Path(__file__).parents[3] / "docs"


def stage_event(outcome):
    fields = dict.fromkeys(
        ("tenant", "workflow", "workflow_version", "job_id", "trace_id", "arm", "event_id", "reason", "worker"), "x"
    )
    return StageEvent(
        **fields,
        time=AT,
        stage="grading",
        rung=0,
        round=0,
        control_version=1,
        segments={},
        outcome=outcome,
        queue_ms=40.0,
        duration_ms=700.0,
        messaging_destination_name="validated",
        messaging_kafka_partition=0,
        messaging_kafka_offset=0,
    )


def dead_letter():
    return DeadLetterEvent(
        time=AT,
        event_id="e",
        stage="grading",
        tenant="",
        job_id="",
        error_class="Unreadable",
        message="",
        messaging_destination_name="validated",
        messaging_kafka_partition=0,
        messaging_kafka_offset=0,
    )


def finished(*events, topic="validated"):
    delivery = Delivery(Address(topic, 0, 0), 0, Raw(None, None), Assignment(topic, 0))
    return Finished(delivery, Emission((), events))


class Committing:
    """A publisher that commits everything, or fails."""

    def __init__(self, error=None):
        self.error = error
        self.committed = []

    async def commit(self, batch):
        if self.error is not None:
            raise self.error
        self.committed.append(batch)


@pytest.fixture
def change():
    """Give a function that says how far a metric has moved since the test began."""
    names = (
        "penstock_records_finished_total",
        "penstock_queue_seconds_sum",
        "penstock_processor_seconds_bucket",
        "penstock_dead_letters_total",
        "penstock_transactions_total",
        "penstock_sink_rows_total",
        "penstock_sink_batches_total",
    )

    def now():
        samples = [sample for family in metrics.REGISTRY.collect() for sample in family.samples]
        return {(one.name, *one.labels.values()): one.value for one in samples if one.name in names}

    before = now()
    return lambda *key: round(now().get(key, 0.0) - before.get(key, 0.0), 6)


async def test_a_committed_batch_is_counted_once(change):
    """Outcomes, times and dead letters by stage; what leaves no event is known by the topic it was read from."""
    batch = Batch(
        (
            finished(stage_event("pass")),
            finished(stage_event("pass")),
            finished(stage_event("climb")),
            finished(stage_event("reject"), dead_letter()),
            finished(dead_letter()),
            finished(topic="retries.10s"),
            finished(topic="spend"),
        ),
        (),
    )
    await MeteredPublisher(Committing()).commit(batch)
    total = "penstock_records_finished_total"
    assert [change(total, "grading", outcome) for outcome in ("pass", "climb", "reject", "dead_letter")] == [2, 1, 1, 1]
    assert (change(total, "delays", "returned"), change(total, "routing", "settled")) == (1, 1)
    assert change("penstock_dead_letters_total", "grading", "Unreadable") == 2
    assert change("penstock_queue_seconds_sum", "grading") == 0.16
    assert change("penstock_processor_seconds_bucket", "grading", "0.5") == 0
    assert change("penstock_processor_seconds_bucket", "grading", "1.0") == 4
    assert change("penstock_transactions_total") == 1


async def test_what_was_not_committed_is_not_counted(change):
    """A batch that could not be committed has not happened."""
    with pytest.raises(OSError, match="gone"):
        await MeteredPublisher(Committing(OSError("gone"))).commit(Batch((finished(stage_event("pass")),), ()))
    assert change("penstock_transactions_total") == 0
    assert change("penstock_records_finished_total", "grading", "pass") == 0


def test_rows_are_counted_when_they_are_stored(change):
    """An insert counts by table; one that fails does not."""

    class Store:
        stored: ClassVar[list] = []

        def insert(self, *part):
            if self.stored:
                raise WarehouseAway("no answer")
            self.stored.append(part)

    sink = MeteredSink(Store())
    sink.insert("jobs", b"x", 30)
    with pytest.raises(WarehouseAway):
        sink.insert("jobs", b"x", 30)
    assert (change("penstock_sink_rows_total", "jobs"), change("penstock_sink_batches_total", "jobs")) == (30, 1)


def test_every_metric_is_described():
    """The page for operators lists every metric by the name that Prometheus shows, and none besides."""
    known = {name + ("_total" if kind == "counter" else "") for name, kind in metrics.kinds().items()}
    named = set(re.findall(r"^\| `(penstock_[a-z_]+)`", (DOCS / "operate.md").read_text(), re.MULTILINE))
    assert named == known

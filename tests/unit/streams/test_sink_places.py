"""Where a sink begins in a partition, and what a flush may claim while partitions come and go."""

import threading

import pytest
from confluent_kafka import TopicPartition

from streams.kafka.sink_notes import Note, by_reason
from streams.kafka.sink_places import Begin, Place, Places, begin


@pytest.mark.parametrize(
    ("noted", "told", "expected"),
    [
        (7, 5, Begin(5)),
        (5, 7, Begin(5)),
        (7, 7, Begin(7)),
        (None, 7, Begin(2)),
        (7, None, Begin(2)),
        (None, None, Begin(2)),
        (1, 7, Begin(2, (1, 2))),
        (7, 1, Begin(2, (1, 2))),
        (1, None, Begin(2, (1, 2))),
        (99, 99, Begin(2)),
        (99, 7, Begin(7)),
        (10, 10, Begin(10)),
    ],
)
def test_it_begins_at_the_lower_of_two_positions_that_are_known(noted, told, expected):
    """What only one side has, or what lies behind the end, proves nothing: the log is read from its start."""
    assert begin(noted, told, low=2, high=10) == expected


def test_positions_of_a_deleted_topic_count_for_nothing():
    """The new one is read from its start, and nothing of it is missing."""
    assert begin(7, 7, low=0, high=10, same_topic=False) == Begin(0)


class Consumer:
    """As much of a consumer as places ask of it."""

    def __init__(self):
        self.paused = []

    def pause(self, places):
        self.paused += [place.partition for place in places]

    def incremental_unassign(self, places):
        """Nothing is assigned here."""


@pytest.fixture
def places():
    made = Places("traces", "sink", None, threading.Event())
    made._places = {0: Place(0, 10, placed=True), 1: Place(0, 10, placed=True), 2: Place(0)}
    return made


def test_a_flush_claims_nothing_of_a_partition_that_went_and_came_back(places):
    """What was revoked during a flush is another owner's, even when it is ours again at the end."""
    assert places.take(0, 10)
    reach = places.snapshot()
    assert {partition: offset for partition, (_, offset) in reach.items()} == {0: 11, 1: 10}
    places.on_revoke(Consumer(), [TopicPartition("traces", 0)])
    assert places.still(reach) == {1: 10}
    places._places[0] = Place(0, 50, placed=True)
    assert places.still(reach) == {1: 10}


def test_records_taken_during_a_flush_are_not_claimed_by_it(places):
    """A flush claims what it began with."""
    reach = places.snapshot()
    places.take(1, 10)
    assert places.still(reach)[1] == 10


def test_nothing_is_taken_of_what_is_not_placed_revoked_or_held(places):
    """Such records are read again by whoever is to have them."""
    consumer = Consumer()
    assert not places.take(2, 0)
    assert not places.take(5, 0)
    places.take(1, 10)
    places.hold(consumer, 1, 10, "newer\nschema")
    assert consumer.paused == [1]
    assert not places.take(1, 11)
    places.reached(1, 40)
    assert places.snapshot()[1][1] == 10


def test_pauses_are_told_by_reason():
    """One sentence for each reason, with its partitions and the earliest time; what goes well is not told."""
    notes = {0: Note("t", "full", 5.0), 1: Note("t", "full", 3.0), 2: Note("t"), 3: None, 4: Note("t", "newer", 1.0)}
    found = by_reason(notes)
    assert [(pause.why, pause.partitions, pause.since) for pause in found] == [
        ("full", (0, 1), 3.0),
        ("newer", (4,), 1.0),
    ]
    assert "partitions 0, 1" in str(found[0])

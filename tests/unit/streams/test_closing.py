import threading

import pytest
from confluent_kafka import KafkaError, KafkaException

from streams.kafka import closing
from streams.kafka.closing import give_back_and_close


class Consumer:
    """Gives its partitions back after some polls; its close may hang."""

    def __init__(self, polls=0, *, hangs=None, fatal=False):
        self.left, self.hangs, self.fatal, self.said = polls, hangs, fatal, []
        self.closed = threading.Event()

    def unsubscribe(self):
        self.said.append("unsubscribe")
        if self.fatal:
            raise KafkaException(KafkaError(KafkaError._FATAL))

    def poll(self, _seconds):
        self.left -= 1

    def assignment(self):
        return ["one"] if self.left > 0 else []

    def close(self):
        self.said.append(f"close with {self.assignment()}")
        if self.hangs is not None:
            self.hangs.wait(30)
        self.closed.set()


@pytest.fixture
def soon(monkeypatch):
    """As patient as a test is."""
    monkeypatch.setattr(closing, "CLOSE_S", 0.05)
    monkeypatch.setattr(closing, "GIVE_BACK_S", 0.05)


def test_partitions_are_given_back_before_the_close():
    """The revocation is served by polls, not by the close."""
    consumer = Consumer(polls=3)
    give_back_and_close(consumer, "g")
    assert consumer.said == ["unsubscribe", "close with []"]


def test_a_group_that_does_not_take_them_back_is_not_waited_for(soon, monkeypatch):
    """Then the close has to do."""
    consumer = Consumer(polls=10**9)
    monkeypatch.setattr(consumer, "poll", lambda _: None)
    give_back_and_close(consumer, "g")
    assert consumer.said == ["unsubscribe", "close with ['one']"]


def test_a_close_that_hangs_is_left_behind(soon):
    """A process ends, whatever its client does."""
    hangs = threading.Event()
    consumer = Consumer(hangs=hangs)
    give_back_and_close(consumer, "g")
    assert not consumer.closed.is_set()
    hangs.set()
    assert consumer.closed.wait(30)


def test_a_consumer_beyond_help_is_closed_all_the_same():
    """What it says to the end of its subscription is not the end of the process."""
    consumer = Consumer(fatal=True)
    give_back_and_close(consumer, "g")
    assert consumer.said[-1] == "close with []"

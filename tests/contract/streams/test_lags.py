"""How far groups are behind, on real Kafka: counted, dated, and told apart from what only looks like a record."""

import threading
import time
import uuid

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from streams.commit_metadata import Position, encode
from streams.groups import GROUPS, Group
from streams.kafka.admin import ensure_topics
from streams.kafka.connection import Connection
from streams.kafka.lags import behind, lags
from streams.topics import Settings, Topic

pytestmark = pytest.mark.stack

ONE = Settings(partitions=1)
GROUP = Group("inference", "inference", ("routed",))


@pytest.fixture
def link(stack):
    """Give a connection to topics of the test's own."""
    made = Connection(stack.broker, prefix=f"lag{uuid.uuid4().hex[:8]}.")
    ensure_topics(made, [Topic("routed", ONE), Topic("traces", ONE)])
    return made


def put(link, count, topic="routed", **at):
    producer = Producer({"bootstrap.servers": link.bootstrap, "log_level": 0})
    for _ in range(count):
        producer.produce(link.topic(topic), b"x", **at)
    assert producer.flush(30) == 0


def put_in_transaction(link, count, *, commit, topic="routed"):
    producer = link.transactional_producer(f"{link.prefix}writer")
    producer.init_transactions(30)
    producer.begin_transaction()
    for _ in range(count):
        producer.produce(link.topic(topic), b"x")
    producer.flush(30)
    producer.commit_transaction(30) if commit else producer.abort_transaction(30)


def commit(link, offset, metadata, group="inference", topic="routed"):
    consumer = Consumer(
        {"bootstrap.servers": link.bootstrap, "group.id": link.group(group), "enable.auto.commit": False}
    )
    consumer.commit(offsets=[TopicPartition(link.topic(topic), 0, offset, metadata)], asynchronous=False)
    consumer.close()


def lag(link, group=GROUP):
    (found,) = lags(link, [group])
    return found


def test_what_waits_is_told_from_what_is_in_work(link):
    """Of ten records seven were started and two of them are unfinished: two in work, three waiting, with their ages."""
    put(link, 2, timestamp=int((time.time() - 500) * 1000))
    put(link, 8, timestamp=int((time.time() - 100) * 1000))
    commit(link, 1, encode(Position(1, 6, (1, 4))))
    found = lag(link)
    assert (found.end, found.committed, found.waiting, found.in_work) == (10, 1, 3, 2)
    assert 99 < found.oldest_waiting_s < 200
    assert 499 < found.oldest_s < 600
    assert found.retention_s == 7 * 86_400
    assert not found.alarm
    assert behind([found])["inference"] == 5


@pytest.mark.parametrize("committed", [False, True], ids=["aborted", "committed and finished"])
def test_transaction_markers_and_aborted_records_are_no_lag(link, committed, eventually):
    """What no reader ever sees does not wait, although offsets lie beyond the watermark."""
    put_in_transaction(link, 5, commit=committed)
    if committed:
        commit(link, 5, encode(Position(5, 4, ())))
    found = eventually(lambda: (now := lag(link)).end > now.committed and now)  # the broker writes markers in its time
    assert (found.waiting, found.oldest_s) == (0, None)


def test_a_group_that_never_committed_waits_from_the_start(link):
    """Everything waits; that there is no group yet is no error."""
    put(link, 4)
    found = lag(link)
    assert (found.committed, found.waiting, found.in_work) == (0, 4, 0)
    assert found.oldest_waiting_s < 60


def test_lag_beyond_half_of_the_retention_is_an_alarm(link):
    """The oldest unfinished record is four of seven days old: the sentence says so, and what to do."""
    put(link, 1, timestamp=int((time.time() - 4 * 86_400) * 1000))
    assert "more than half of the topic's retention (168.0 h)" in lag(link).alarm
    assert "retention_hours" in lag(link).alarm


@pytest.mark.parametrize(
    ("offset", "metadata", "said"),
    [
        (2, "", "carries no metadata: something else committed"),
        (2, "1:00000000:x", "only Penstock may commit"),
        (9, "", "committed 9, the log ends at 4: was the topic deleted and made anew?"),
    ],
)
def test_a_commit_that_is_not_ours_is_an_alarm(link, offset, metadata, said):
    """Foreign, damaged and impossible positions are named before a worker trips over them."""
    put(link, 4)
    commit(link, offset, metadata)
    assert said in lag(link).alarm


def test_records_lost_to_retention_are_an_alarm(link):
    """The log starts beyond what the group has committed: how many are gone is said."""
    put(link, 6)
    commit(link, 1, encode(Position(1, 0, ())))
    admin = link.admin()
    for future in admin.delete_records([TopicPartition(link.topic("routed"), 0, 4)]).values():
        future.result(30)
    assert "up to 3 records were lost to retention" in lag(link).alarm


def test_an_open_transaction_does_not_hang_the_look(link):
    """While a writer's transaction is open, what it holds back is not counted, and the answer comes at once."""
    put_in_transaction(link, 2, commit=True)
    writer = link.transactional_producer(f"{link.prefix}other")
    writer.init_transactions(30)
    writer.begin_transaction()
    writer.produce(link.topic("routed"), b"x")
    writer.flush(30)
    found: list[int] = []
    asking = threading.Thread(target=lambda: found.append(lag(link).waiting))
    asking.start()
    asking.join(10)
    writer.abort_transaction(30)
    assert found == [3]  # two records and a marker


def test_every_group_of_the_map_is_looked_at(stack):
    """All groups, in the order of the flow; topics that are missing are left out, all of them if need be."""
    link = Connection(stack.broker, prefix=f"lag{uuid.uuid4().hex[:8]}.")
    assert lags(link) == ()
    ensure_topics(link)
    found = lags(link)
    assert [(one.stage, one.topic) for one in found] == [
        (group.stage, name) for group in GROUPS for name in group.topics
    ]
    assert not any(one.behind or one.alarm for one in found)

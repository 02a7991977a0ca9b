"""What `topics plan` finds on real Kafka, what `apply` does about it, and what it refuses."""

import uuid
from dataclasses import replace

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from streams.errors import TopicMismatch
from streams.kafka.admin import apply, ensure_topics, plan
from streams.kafka.connection import Connection
from streams.topics import ADMITTED, CONTROL, JOBS, RESULTS, ROUTED, TRACES

pytestmark = pytest.mark.stack


@pytest.fixture
def link(stack):
    """Give a connection to topics of the test's own, of which none exists."""
    return Connection(stack.broker, prefix=f"plan{uuid.uuid4().hex[:8]}.")


def make(link, topic, partitions=None, **config):
    told = topic.settings.config() | {name.replace("_", "."): value for name, value in config.items()}
    new = NewTopic(link.topic(topic.name), partitions or topic.settings.partitions, 1, config=told)
    admin = link.admin()
    admin.create_topics([new])[new.topic].result(30)
    while new.topic not in admin.list_topics(timeout=30).topics:  # the broker hears of it a moment later
        pass


def alter(link, topic, name, value, eventually):
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, link.topic(topic.name), incremental_configs=[entry])
    admin = link.admin()
    admin.incremental_alter_configs([resource])[resource].result(30)
    plain = ConfigResource(ResourceType.TOPIC, link.topic(topic.name))
    eventually(lambda: admin.describe_configs([plain])[plain].result(30)[name].value == value)  # a broker hears later


def wanting(topic, **settings):
    return replace(topic, settings=replace(topic.settings, **settings))


def test_what_is_missing_is_made_as_the_map_says(link, eventually):
    """After `apply` there is nothing left to do, and a worker may start."""
    topics = [JOBS, ADMITTED, CONTROL]
    changes = plan(link, topics)
    assert [(change.topic, change.setting) for change in changes] == [(topic.name, "topic") for topic in topics]
    apply(link, changes, topics)
    eventually(lambda: plan(link, topics) == ())
    assert ensure_topics(link, topics) == []


@pytest.mark.parametrize(
    ("setting", "value"),
    [("cleanup.policy", "compact"), ("max.message.bytes", "1000000"), ("message.timestamp.type", "CreateTime")],
)
def test_a_setting_that_breaks_a_promise_stops_a_worker_and_is_mended(link, setting, value, eventually):
    """The worker names topic, setting, what it found and the command; the command mends it."""
    make(link, JOBS)
    alter(link, JOBS, setting, value, eventually)
    with pytest.raises(TopicMismatch, match=rf"jobs: {setting} is {value}, expected .*\n.*penstock topics apply"):
        ensure_topics(link, [JOBS])
    apply(link, plan(link, [JOBS]), [JOBS])
    eventually(lambda: plan(link, [JOBS]) == ())
    assert ensure_topics(link, [JOBS]) == []


def test_more_partitions_are_made_where_any_order_will_do(link, eventually):
    """`routed` grows, so that more workers find something to do; that Kafka can't shrink it is said."""
    make(link, ROUTED)
    wider = wanting(ROUTED, partitions=12)
    apply(link, plan(link, [wider]), [wider])
    eventually(lambda: plan(link, [wider]) == ())
    assert plan(link, [ROUTED]) == ()  # more than the map's six is as good
    (refused,) = plan(link, [wanting(ROUTED, partitions=8)])
    assert "can't take partitions away" in refused.refused


@pytest.mark.parametrize("topic", [ADMITTED, RESULTS, CONTROL])
def test_partitions_of_keyed_topics_are_not_changed(link, topic):
    """Another count would part what lies together by key: refused, with what there is to choose from."""
    make(link, topic, 3)
    (change,) = plan(link, [topic])
    assert "Choose: a prefix of its own" in change.refused
    apply(link, [change], [topic])
    assert plan(link, [topic]) == (change,)
    with pytest.raises(TopicMismatch, match="partitions is 3"):
        ensure_topics(link, [topic])


def test_topics_written_by_slot_may_grow_to_the_slots(link, eventually):
    """With fewer partitions than slots write to, a worker could not commit; the topic is grown."""
    make(link, TRACES, 2)
    with pytest.raises(TopicMismatch, match="traces: partitions is 2"):
        ensure_topics(link, [TRACES])
    apply(link, plan(link, [TRACES]), [TRACES])
    eventually(lambda: plan(link, [TRACES]) == ())
    assert ensure_topics(link, [TRACES]) == []


def test_a_shorter_retention_is_told_as_a_loss(link, eventually):
    """What would be deleted is said beforehand; a longer one than the map's needs no change."""
    make(link, ROUTED)
    (change,) = plan(link, [wanting(ROUTED, retention_ms=3_600_000)])
    assert (change.setting, change.loses) == ("retention.ms", "records older than 1 h")
    alter(link, ROUTED, "retention.ms", "-1", eventually)
    assert plan(link, [ROUTED]) == ()
    alter(link, ROUTED, "retention.ms", "60000", eventually)
    (longer,) = plan(link, [ROUTED])
    assert (longer.found, longer.wanted, longer.loses) == ("60000", "604800000", "")

"""Who may do what, before any broker is asked: no component has a right that would let it do another's work."""

import pytest

from streams.kafka.acls import components
from streams.kafka.connection import Connection
from streams.pipeline import STAGES
from streams.topics import CONTROL, JOBS, REGISTRY, RESULTS, SNAPSHOT_VERSIONS, TOPICS

LINK = Connection("127.0.0.1:9", prefix="p.", application="app", instance="m1")
WORKERS = (*STAGES, "sink", "worker")


def rights(component, resource="topic", link=LINK):
    """Operations by name."""
    return {one.name: set(one.operations) for one in components(link)[component] if one.resource == resource}


@pytest.mark.parametrize("component", WORKERS)
def test_no_worker_throws_switches_or_changes_topics(component):
    """A worker that was taken over can't lift a kill switch, release a workflow, or make, change or remove a topic."""
    mine = rights(component)
    assert {"Write"} & (mine["p.control"] | mine["p.registry"]) == set()
    assert all(operations <= {"Read", "Write", "Describe", "DescribeConfigs"} for operations in mine.values())
    assert rights(component, "cluster") == {}


def test_producers_and_readers_do_only_that():
    """Who publishes can't read what others publish, nor results; who reads results writes nothing."""
    assert rights("producer")["p.jobs"] == {"Write", "Describe"}
    assert "p.results" not in rights("producer")
    assert rights("reader") == {"p.results": {"Read", "Describe"}, "p.deltas": {"Read", "Describe"}}
    assert rights("retriever") == {
        "p.snapshot-versions": {"Write", "Describe"},
        "p.context-requests": {"Read", "Describe"},
    }
    assert rights("reviewer") == {"p.escalations": {"Read", "Describe"}, "p.reviews": {"Write", "Describe"}}


def test_a_stage_reads_only_its_own_topics():
    """Inference can't read jobs that intake has not admitted; the sink writes nothing but dead letters."""
    assert "Read" not in rights("inference")[f"p.{JOBS.name}"]
    assert "Read" in rights("intake")[f"p.{JOBS.name}"]
    assert [name for name, operations in rights("sink").items() if "Write" in operations] == ["p.dead-letters"]
    assert "Write" not in rights("sink")[f"p.{RESULTS.name}"]


def test_a_worker_s_transactions_are_its_own():
    """A worker's rights end at its machine and its stages: it can't fence another's transactions."""
    (mine,) = (one for one in components(LINK, ["m1"])["inference"] if one.resource == "transactional-id")
    assert (mine.name, mine.prefixed) == ("p.app.m1.inference.", True)
    two = [one.name for one in components(LINK, ["m1", "m2"])["worker"] if one.resource == "transactional-id"]
    assert two == ["p.app.m1.all.", "p.app.m2.all."]


def test_every_topic_has_somebody_who_may_make_it():
    """The operator makes all of them, and alone writes switches and workflows."""
    mine = rights("operator")
    assert all("Create" in mine[f"p.{topic.name}"] for topic in TOPICS)
    assert all("Write" in mine[f"p.{topic.name}"] for topic in (CONTROL, REGISTRY, SNAPSHOT_VERSIONS))


def test_a_grant_is_a_command_of_kafka_s_own_tool():
    """What is printed can be pasted."""
    (transactions,) = (one for one in components(LINK)["routing"] if one.resource == "transactional-id")
    assert transactions.command("User:r", "b:1") == (
        "kafka-acls --bootstrap-server b:1 --command-config admin.properties --add "
        "--transactional-id 'p.app.m1.routing.' --resource-pattern-type prefixed "
        "--operation Write --operation Describe --allow-principal 'User:r'"
    )

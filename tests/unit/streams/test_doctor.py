"""Each check of the doctor can fail: what it says about a broker that breaks one rule, and that it mends it."""

from dataclasses import replace

import pytest

from streams.kafka.admin import Change
from streams.kafka.doctor import SCAN_MS, Mark, judge
from streams.kafka.facts import Facts, TopicFacts
from streams.kafka.lags import Lag

TOPIC = TopicFacts(6, 3, 3, {"min.insync.replicas": "2", "cleanup.policy": "delete", "retention.ms": "604800000"})
CONFIG = {
    "auto.create.topics.enable": "false",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    SCAN_MS: "1000",
    "transaction.max.timeout.ms": "60000",
    "offsets.retention.minutes": "129600",
    "offset.metadata.max.bytes": "4096",
    "unclean.leader.election.enable": "false",
}
LAG = Lag("inference", "penstock.inference", "routed", 10, 10, 0, 0, None, None, 604_800.0)
SOUND = Facts(
    brokers=3,
    config=CONFIG,
    topics={"routed": TOPIC},
    transactions=replace(TOPIC, config={"min.insync.replicas": "2"}),
    groups={"penstock.inference": "classic"},
    changes=(),
    lags=(LAG,),
    clock_ahead_s=0.01,
    clock_within_s=0.005,
)


def grave(facts):
    """What is not ok, by check; every such finding says what to do."""
    found = [finding for finding in judge(facts) if finding.mark is not Mark.OK]
    assert all(finding.mend for finding in found)
    return {(finding.check, finding.mark.value) for finding in found}


def config(**changes):
    return replace(SOUND, config=CONFIG | {name.replace("_", "."): value for name, value in changes.items()})


def topic(replicas=3, in_sync=3, **changes):
    settings = dict(TOPIC.config) | {name.replace("_", "."): value for name, value in changes.items()}
    return replace(SOUND, topics={"routed": TopicFacts(6, replicas, in_sync, settings)})


def test_a_sound_cluster_has_nothing_to_mend():
    """Three brokers with the settings that the protocol asks for: every finding is ok."""
    assert grave(SOUND) == set()


def test_one_node_is_a_warning_not_a_failure():
    """The embedded broker keeps every promise but against the loss of its disk."""
    one = replace(TOPIC, replicas=1, in_sync=1, config=dict(TOPIC.config) | {"min.insync.replicas": "1"})
    node = {"transaction.state.log.replication.factor": "1", "transaction.state.log.min.isr": "1"}
    facts = replace(SOUND, brokers=1, topics={"routed": one}, transactions=one, config=CONFIG | node)
    assert grave(facts) == {("brokers", "warn")}


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        (topic(replicas=2), {("replication", "fail")}),
        (topic(min_insync_replicas="1"), {("replication", "fail")}),
        (topic(min_insync_replicas="3"), {("replication", "warn")}),
        (topic(in_sync=1), {("replication", "fail")}),
        (topic(unclean_leader_election_enable="true"), {("elections", "fail")}),
        (config(unclean_leader_election_enable="true"), {("elections", "fail")}),
        (replace(SOUND, transactions=replace(TOPIC, replicas=1)), {("transaction log", "fail")}),
        (replace(SOUND, transactions=topic(min_insync_replicas="1").topics["routed"]), {("transaction log", "fail")}),
        (replace(config(transaction_state_log_min_isr="1"), transactions=None), {("transaction log", "fail")}),
        (config(transaction_max_timeout_ms="5000"), {("transaction time", "fail")}),
        (replace(SOUND, config=CONFIG | {SCAN_MS: "10000"}), {("stall", "warn")}),
        (config(offsets_retention_minutes="10080"), {("offsets", "fail")}),
        (topic(retention_ms="-1"), {("offsets", "fail")}),
        (config(offset_metadata_max_bytes="1024"), {("commit metadata", "fail")}),
        (config(auto_create_topics_enable="true"), {("topics", "warn")}),
        (config(inter_broker_protocol_version="2.8-IV1"), {("version", "fail")}),
        (config(inter_broker_protocol_version="3.9-IV0"), set()),
        (replace(SOUND, groups={"penstock.inference": "consumer"}), {("group protocol", "warn")}),
        (replace(SOUND, lags=(replace(LAG, problem="no metadata"),)), {("positions", "fail")}),
        (replace(SOUND, lags=(replace(LAG, oldest_s=400_000.0),)), {("retention", "fail")}),
        (replace(SOUND, changes=(Change("routed", "topic", "missing", "…"),)), {("topics", "warn")}),
        (replace(SOUND, changes=(Change("jobs", "cleanup.policy", "compact", "delete"),)), {("topics", "fail")}),
        (replace(SOUND, clock_ahead_s=-3.0), {("clock", "warn")}),
        (replace(SOUND, clock_ahead_s=86_400.0), {("clock", "fail")}),
        (replace(SOUND, clock_ahead_s=None), {("clock", "warn")}),
    ],
)
def test_each_broken_rule_is_found_and_nothing_else(facts, found):
    """One thing is wrong: one check says so, as gravely as it is."""
    assert grave(facts) == found


def test_the_stall_after_a_kill_is_stated():
    """Transaction time-out plus the broker's scan, in seconds."""
    said = " ".join(finding.said for finding in judge(SOUND) if finding.check == "stall")
    assert "11 s" in said

"""Judges what a broker said: does it keep what the promises rest on (EXACTLY_ONCE.md 2.3, 3.4, 5.6, 10)? Pure.

Each check gives findings: ok, warn (the promises hold, something is slower or weaker than it need be) or fail (a
promise can break), with what was found and what to do.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from streams.commit_metadata import MAX_CHARACTERS
from streams.kafka.facts import Facts

OLDEST: Final = (3, 0)
SCAN_MS: Final = "transaction.abort.timed.out.transaction.cleanup.interval.ms"
SLOW_SCAN_MS: Final = 5_000
"""One that comes sooner may meet a broker that has just started and does not know its partitions yet (decision 14)."""
SKEW_WARN_S: Final = 1.0
SKEW_FAIL_S: Final = 30.0


class Mark(StrEnum):
    """How grave a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check says. `mend` is empty where nothing need be done."""

    check: str
    mark: Mark
    said: str
    mend: str = ""


def judge(facts: Facts) -> tuple[Finding, ...]:
    """Every finding, in the order of the checks."""
    return tuple(finding for check in CHECKS for finding in check(facts))


def _version(facts: Facts) -> Iterator[Finding]:
    if facts.version is None:
        yield Finding("version", Mark.OK, "Kafka 4.0 or later")
    elif facts.version < OLDEST:
        said = f"Kafka {'.'.join(map(str, facts.version))}: transactions fence members only from 2.5, and 3.0 is tested"
        yield Finding("version", Mark.FAIL, said, "upgrade the brokers to 3.x or 4.x")
    else:
        yield Finding("version", Mark.OK, f"Kafka {'.'.join(map(str, facts.version))}")


def _replication(facts: Facts) -> Iterator[Finding]:
    one_node = facts.brokers < 3
    if one_node:
        said = f"{facts.brokers} broker(s): what is acknowledged survives the death of processes, not of a disk"
        yield Finding("brokers", Mark.WARN, said, "three brokers, replication = 3 and min.insync.replicas = 2")
    else:
        yield Finding("brokers", Mark.OK, f"{facts.brokers} brokers")
    weak = []
    for name, topic in facts.topics.items():
        least = int(topic.config.get("min.insync.replicas", "1"))
        if not one_node and (topic.replicas < 3 or least < 2):
            weak.append(f"{name} ({topic.replicas} replicas, min.insync.replicas {least})")
        elif topic.replicas > 1 and least >= topic.replicas:
            said = (
                f"{name}: min.insync.replicas {least} of {topic.replicas} replicas: one broker away stops every writer"
            )
            yield Finding("replication", Mark.WARN, said, f"set min.insync.replicas of {name} to {topic.replicas - 1}")
        if topic.in_sync < least:
            said = f"{name}: {topic.in_sync} replicas in sync, {least} needed: nothing can be written"
            yield Finding("replication", Mark.FAIL, said, "bring the missing broker back")
    if weak:
        said = f"can lose what was acknowledged when a broker is lost: {', '.join(weak)}"
        mend = "kafka-reassign-partitions to 3 replicas; kafka-configs min.insync.replicas=2; replication = 3 here"
        yield Finding("replication", Mark.FAIL, said, mend)
    elif not one_node:
        yield Finding("replication", Mark.OK, "three replicas, two of them in sync, for every topic")


def _unclean(facts: Facts) -> Iterator[Finding]:
    name = "unclean.leader.election.enable"
    wrong = [topic for topic, found in facts.topics.items() if found.config.get(name) == "true"]
    if wrong or facts.config.get(name) == "true":
        said = f"{name} is true for {', '.join(wrong) or 'the broker'}: a replica that lags may become the truth"
        yield Finding("elections", Mark.FAIL, said, f"set {name}=false")
    else:
        yield Finding("elections", Mark.OK, "no unclean leader elections")


def _transaction_log(facts: Facts) -> Iterator[Finding]:
    replicas, least = (
        int(facts.config.get(f"transaction.state.log.{name}", "1")) for name in ("replication.factor", "min.isr")
    )
    if facts.transactions is not None:  # as it is, not as the next one would be
        replicas = facts.transactions.replicas
        least = int(facts.transactions.config.get("min.insync.replicas", str(least)))
    wanted = (3, 2) if facts.brokers >= 3 else (1, 1)
    if (replicas, least) < wanted or least < wanted[1]:
        said = f"the transactions' own log has {replicas} replicas and min.insync.replicas {least}"
        mend = f"transaction.state.log.replication.factor={wanted[0]}, transaction.state.log.min.isr={wanted[1]}"
        yield Finding("transaction log", Mark.FAIL, said, f"{mend}; reassign __transaction_state if it exists")
    elif replicas < least:
        said = f"{replicas} replicas and min.isr {least}: no transaction can be committed"
        yield Finding("transaction log", Mark.FAIL, said, "transaction.state.log.min.isr must not exceed the replicas")
    else:
        yield Finding("transaction log", Mark.OK, f"{replicas} replicas, min.isr {least}")


def _stall(facts: Facts) -> Iterator[Finding]:
    scan_ms = int(facts.config.get(SCAN_MS, "10000"))
    longest_ms = int(facts.config.get("transaction.max.timeout.ms", "900000"))
    if longest_ms < facts.transaction_timeout_ms:
        said = f"transaction.max.timeout.ms is {longest_ms}, transaction_timeout_ms here {facts.transaction_timeout_ms}"
        yield Finding(
            "transaction time", Mark.FAIL, said, "lower transaction_timeout_ms: no worker can start like this"
        )
    bound_s = (facts.transaction_timeout_ms + scan_ms) / 1000
    said = f"the open transaction of a killed worker that nobody restarts stalls readers for {bound_s:g} s at most"
    if scan_ms > SLOW_SCAN_MS:
        yield Finding("stall", Mark.WARN, said, f"{SCAN_MS}={SLOW_SCAN_MS} on the brokers")
    else:
        yield Finding("stall", Mark.OK, said)


def _offsets(facts: Facts) -> Iterator[Finding]:
    kept_ms = int(facts.config.get("offsets.retention.minutes", "10080")) * 60_000
    retentions = {name: int(found.config.get("retention.ms", "0")) for name, found in facts.topics.items()}
    longer = [name for name, ms in retentions.items() if (ms < 0 or ms >= kept_ms) and _deletes(facts, name)]
    if longer:
        said = f"a stopped group forgets its offsets after {kept_ms / 86_400_000:g} d; kept as long or longer: "
        mend = "offsets.retention.minutes beyond the longest topic retention, or the group starts over: jobs run again"
        yield Finding("offsets", Mark.FAIL, said + ", ".join(longer), mend)
    else:
        yield Finding("offsets", Mark.OK, f"groups keep their offsets for {kept_ms / 86_400_000:g} d")
    fits = int(facts.config.get("offset.metadata.max.bytes", "4096"))
    if fits <= MAX_CHARACTERS:
        said = f"offset.metadata.max.bytes is {fits}: the unfinished records of a busy stage would not fit a commit"
        yield Finding("commit metadata", Mark.FAIL, said, "offset.metadata.max.bytes=4096")
    else:
        yield Finding("commit metadata", Mark.OK, f"commits may carry {fits} bytes")


def _deletes(facts: Facts, name: str) -> bool:
    return "delete" in facts.topics[name].config.get("cleanup.policy", "delete")


def _topics(facts: Facts) -> Iterator[Finding]:
    for change in facts.changes:
        missing, retention = change.setting == "topic", change.setting == "retention.ms"
        mark = Mark.WARN if missing or retention else Mark.FAIL
        said = f"{change.topic} does not exist" if missing else str(change)
        yield Finding("topics", mark, said, change.refused or "penstock topics apply")
    if not facts.changes:
        yield Finding("topics", Mark.OK, f"{len(facts.topics)} topics as the pipeline needs them")
    if facts.config.get("auto.create.topics.enable", "true") == "true":
        said = "auto.create.topics.enable is true: a misspelt topic is made instead of refused"
        yield Finding("topics", Mark.WARN, said, "auto.create.topics.enable=false")


def _groups(facts: Facts) -> Iterator[Finding]:
    new = [name for name, protocol in facts.groups.items() if protocol == "consumer"]
    if new:
        said = f"{', '.join(new)} use the new group protocol: a killed worker's partitions wait for its session to end"
        yield Finding(
            "group protocol", Mark.WARN, said, "group.protocol=classic, with which a restart takes over at once"
        )
    else:
        yield Finding("group protocol", Mark.OK, "classic, with static members")
    for lag in facts.lags:
        if lag.problem:
            mend = "decide where the group goes on: docs/operate.md, A position is lost"
            yield Finding("positions", Mark.FAIL, lag.problem, mend)
        elif lag.alarm:
            yield Finding("retention", Mark.FAIL, lag.alarm, "more workers, or a longer retention")
    if not any(lag.alarm for lag in facts.lags):
        yield Finding("positions", Mark.OK, "every committed offset is ours and lies in its log")


def _clock(facts: Facts) -> Iterator[Finding]:
    ahead, within = facts.clock_ahead_s, facts.clock_within_s
    if ahead is None:
        said = "the broker's clock could not be read: no record could be written to the topic `doctor`"
        yield Finding("clock", Mark.WARN, said, "penstock acls: the operator may write it")
        return
    way = "ahead of" if ahead > 0 else "behind"
    said = f"the broker's clock is {abs(ahead):.3f} s {way} this machine's (± {within:.3f} s)"
    off = abs(ahead) - within
    mend = "keep all clocks by NTP: deadlines, delays and budget windows are told by them"
    if off > SKEW_FAIL_S:
        yield Finding("clock", Mark.FAIL, said, mend)
    elif off > SKEW_WARN_S:
        yield Finding("clock", Mark.WARN, said, mend)
    else:
        yield Finding("clock", Mark.OK, said)


def _readers(_: Facts) -> Iterator[Finding]:
    said = (
        "readers of results must ask for isolation.level=read_committed: librdkafka and Penstock's client do by "
        "default; Java, Kafka Connect and aiokafka must be told, or they see answers that were never given"
    )
    yield Finding("readers", Mark.OK, said)


CHECKS: Final[tuple[Callable[[Facts], Iterator[Finding]], ...]] = (
    _version,
    _replication,
    _unclean,
    _transaction_log,
    _stall,
    _offsets,
    _topics,
    _groups,
    _clock,
    _readers,
)

"""The least that each component must be allowed on a cluster with access control, derived from the map.

Every worker keeps the delays, whose records return to wherever they came from, and may end a job; so workers of
different stages differ in what they read and remember, hardly in what they write. What no worker may do is throw a
switch (`control`), publish a workflow (`registry`), or make and change topics: that is the operator's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

from streams.errors import BrokerAway
from streams.groups import DELAYS, GROUPS, SINK, of_sources
from streams.kafka.connection import Connection
from streams.kafka.facts import CLOCK
from streams.kafka.states import CHANGELOGS
from streams.kafka.switchboard import NAME as SWITCHBOARD
from streams.pipeline import REVIEWS, STAGES
from streams.sources import Source
from streams.topics import (
    CONTEXT_REQUESTS,
    CONTROL,
    DEAD_LETTER_ACTIONS,
    DEAD_LETTERS,
    DELTAS,
    ESCALATIONS,
    FLOW,
    HELD,
    PRODUCERS,
    REGISTRY,
    RESULTS,
    SNAPSHOT_VERSIONS,
    SPEND,
    TOPICS,
    TRACES,
    VERDICTS,
)
from streams.topics import REVIEWS as GIVEN_REVIEWS

TIMEOUT_S: Final = 15.0
CLUSTER: Final = "kafka-cluster"
PRODUCER, READER, RETRIEVER, REVIEWER, OPERATOR = "producer", "reader", "retriever", "reviewer", "operator"

_KINDS: Final = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
    "cluster": ResourceType.BROKER,
}
_OPERATIONS: Final = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Alter": AclOperation.ALTER,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
    "AlterConfigs": AclOperation.ALTER_CONFIGS,
}


@dataclass(frozen=True, slots=True)
class Grant:
    """Some operations on one resource, by its full name; a transactional id may be a prefix of names."""

    resource: str
    name: str
    operations: tuple[str, ...]
    prefixed: bool = False

    def command(self, principal: str, bootstrap: str) -> str:
        """As Kafka's own tool takes it."""
        resource = "--cluster" if self.resource == "cluster" else f"--{self.resource} '{self.name}'"
        pattern = " --resource-pattern-type prefixed" if self.prefixed else ""
        operations = " ".join(f"--operation {operation}" for operation in self.operations)
        tool = f"kafka-acls --bootstrap-server {bootstrap} --command-config admin.properties --add"
        return f"{tool} {resource}{pattern} {operations} --allow-principal '{principal}'"


class _Wishes:
    """Collects what is needed; each resource once, operations in the order of Kafka's documentation."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._wanted: dict[tuple[str, str, bool], set[str]] = {}

    def topics(self, names: Iterable[str], *operations: str) -> None:
        for name in names:
            self._add("topic", self._connection.topic(name), operations)

    def groups(self, names: Iterable[str], *operations: str) -> None:
        for name in names:
            self._add("group", self._connection.group(name), operations)

    def transactions(self, name: str, *, prefixed: bool) -> None:
        self._add("transactional-id", self._connection.group(name), ("Write", "Describe"), prefixed=prefixed)

    def raw(self, resource: str, name: str, *operations: str) -> None:
        self._add(resource, name, operations)

    def _add(self, resource: str, name: str, operations: Iterable[str], *, prefixed: bool = False) -> None:
        self._wanted.setdefault((resource, name, prefixed), set()).update(operations)

    def grants(self) -> tuple[Grant, ...]:
        return tuple(
            Grant(resource, name, tuple(one for one in _OPERATIONS if one in operations), prefixed)
            for (resource, name, prefixed), operations in self._wanted.items()
        )


def components(
    connection: Connection, instances: Sequence[str] = (), sources: Sequence[Source] = ()
) -> dict[str, tuple[Grant, ...]]:
    """What each component needs: who publishes jobs, each stage alone, all in one process, the sink, and people.

    Args:
        connection: Whose prefix, application and instance stand in the names.
        instances: Machines that workers run on; default: the connection's.
        sources: Topics of others whose records intake makes jobs of.
    """
    on = tuple(instances) or (connection.instance,)
    return {
        PRODUCER: producer(connection),
        **{stage: worker(connection, (stage,), stage, on, sources) for stage in STAGES},
        REVIEWS: worker(connection, (REVIEWS,), REVIEWS, on),
        SINK: worker(connection, (SINK,), SINK, on),
        "worker": worker(connection, (*STAGES, REVIEWS, SINK), "all", on, sources),
        READER: reader(connection),
        RETRIEVER: retriever(connection),
        REVIEWER: reviewer(connection),
        OPERATOR: operator(connection),
    }


def producer(connection: Connection) -> tuple[Grant, ...]:
    """Who publishes jobs."""
    wishes = _Wishes(connection)
    wishes.topics(PRODUCERS, "Write", "Describe")
    return wishes.grants()


def reader(connection: Connection) -> tuple[Grant, ...]:
    """Who reads results, and answers while they are being written, by any client without a group of its own."""
    wishes = _Wishes(connection)
    wishes.topics([RESULTS.name, DELTAS.name], "Read", "Describe")
    wishes.groups(["reader"], "Describe")
    return wishes.grants()


def retriever(connection: Connection) -> tuple[Grant, ...]:
    """Who takes the contexts that jobs bring: says which version is the newest, and is asked for newer ones."""
    wishes = _Wishes(connection)
    wishes.topics([SNAPSHOT_VERSIONS.name], "Write", "Describe")
    wishes.topics([CONTEXT_REQUESTS.name], "Read", "Describe")
    wishes.groups(["retriever"], "Read", "Describe")
    return wishes.grants()


def reviewer(connection: Connection) -> tuple[Grant, ...]:
    """Who shows people what waits for them, and brings back their verdicts."""
    wishes = _Wishes(connection)
    wishes.topics([ESCALATIONS.name], "Read", "Describe")
    wishes.topics([GIVEN_REVIEWS.name], "Write", "Describe")
    wishes.groups(["reader"], "Describe")
    return wishes.grants()


def worker(
    connection: Connection, parts: Sequence[str], name: str, instances: Sequence[str], sources: Sequence[Source] = ()
) -> tuple[Grant, ...]:
    """A process with these parts, which is called so in its transactional id."""
    wishes = _Wishes(connection)
    stages = [part for part in parts if part != SINK]
    # at its start: are the topics as they must be; which switches and workflows are in force
    wishes.topics((topic.name for topic in TOPICS), "Describe", "DescribeConfigs")
    wishes.topics([CONTROL.name, REGISTRY.name, SNAPSHOT_VERSIONS.name], "Read")
    wishes.groups(["control"], "Describe")
    # what it reads
    groups = (*GROUPS, *of_sources(sources))
    mine = [group for group in groups if group.stage in parts or (stages and group.stage == DELAYS)]
    wishes.topics((topic for group in mine for topic in group.topics), "Read", "Describe")
    wishes.groups((group.name for group in mine), "Read")
    # what it writes
    wishes.topics([DEAD_LETTERS.name], "Write")
    if not stages:
        return wishes.grants()
    waiting = [topic for group in GROUPS if group.stage == DELAYS for topic in group.topics]
    ends = [topic.name for topic in (RESULTS, DELTAS, ESCALATIONS, CONTEXT_REQUESTS, HELD, SPEND, TRACES)]
    wishes.topics([*PRODUCERS, *FLOW, *waiting, *ends], "Write")
    for instance in instances:
        wishes.transactions(f"{instance}.{name}.", prefixed=True)
    # what it remembers, and what holds it back
    for stage in stages:
        if stage in CHANGELOGS:
            wishes.topics([CHANGELOGS[stage].topic.name], "Read", "Write")
            wishes.groups(["restore"], "Describe")
    if REVIEWS in stages:
        wishes.topics([VERDICTS.name], "Write")
    if STAGES[0] in stages:
        wishes.groups(["inference"], "Describe")
    return wishes.grants()


def operator(connection: Connection) -> tuple[Grant, ...]:
    """Who makes topics, throws switches, publishes workflows, looks, and deals with dead letters."""
    wishes = _Wishes(connection)
    look = ("Describe", "DescribeConfigs")
    wishes.topics((topic.name for topic in TOPICS), "Read", "Create", "Alter", "AlterConfigs", *look)
    wishes.topics([CONTROL.name, REGISTRY.name, SNAPSHOT_VERSIONS.name], "Write")
    wishes.topics([CLOCK.name], "Write", "Create", *look)
    letters = [GIVEN_REVIEWS.name, TRACES.name, DEAD_LETTERS.name, DEAD_LETTER_ACTIONS.name]
    wishes.topics([*PRODUCERS, *FLOW, *letters], "Write")
    wishes.transactions("dlq", prefixed=False)
    wishes.transactions(SWITCHBOARD, prefixed=False)
    wishes.groups((*(group.name for group in GROUPS), "reader", "control", "dlq"), "Describe")
    wishes.raw("topic", "__transaction_state", *look)
    wishes.raw("cluster", CLUSTER, *look)
    return wishes.grants()


def allow(connection: Connection, principal: str, grants: Iterable[Grant]) -> None:
    """Add grants for a principal (`User:name`) on the cluster; what is there stays.

    Raises:
        BrokerAway: the broker refused, as one without access control does.
    """
    bindings = [
        AclBinding(
            _KINDS[grant.resource],
            grant.name,
            ResourcePatternType.PREFIXED if grant.prefixed else ResourcePatternType.LITERAL,
            principal,
            "*",
            _OPERATIONS[operation],
            AclPermissionType.ALLOW,
        )
        for grant in grants
        for operation in grant.operations
    ]
    admin = connection.admin()
    try:
        for future in admin.create_acls(bindings, request_timeout=TIMEOUT_S).values():
            future.result(TIMEOUT_S)
    except KafkaException as error:
        raise BrokerAway(f"{principal} could not be allowed what it needs: {error.args[0].str()}") from error

"""How far each consumer group is behind on each topic, asked of the broker now.

Kafka's offsets count transaction markers and aborted records too, so a count of records is an upper bound; whether
anything waits at all, and since when, is read from the records themselves and exact.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec, ResourceType

from streams.commit_metadata import ForeignMetadata, Position, decode
from streams.errors import BrokerAway
from streams.groups import GROUPS, Group
from streams.kafka.connection import Connection
from streams.kafka.offsets import committed

TIMEOUT_S: Final = 15.0
READ_S: Final = 5.0
Place = tuple[str, int]

_NO_LEADER_YET: Final = frozenset({KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE})
_PEEK: Final = {"enable.partition.eof": True, "queued.max.messages.kbytes": 1024, "fetch.message.max.bytes": 65_536}


@dataclass(frozen=True, slots=True)
class Lag:
    """One group on one topic. Ages are in seconds, None where nothing is there or it could not be read in time."""

    stage: str
    group: str
    topic: str
    end: int
    committed: int
    waiting: int
    in_work: int
    oldest_waiting_s: float | None
    oldest_s: float | None
    retention_s: float | None
    problem: str = ""

    @property
    def behind(self) -> int:
        """Records that are not finished."""
        return self.waiting + self.in_work

    @property
    def alarm(self) -> str:
        """Why somebody must act now; empty if nobody must."""
        if self.problem:
            return self.problem
        if self.oldest_s is not None and self.retention_s is not None and self.oldest_s > self.retention_s / 2:
            return (
                f"{self.stage}: the oldest unfinished record of {self.topic} is {self.oldest_s / 3600:.1f} h old, more "
                f"than half of the topic's retention ({self.retention_s / 3600:.1f} h), after which it is lost. Run "
                "more workers, or raise retention_hours and `penstock topics apply`"
            )
        return ""


@dataclass(slots=True)
class _At:
    """Where a group stands on one partition."""

    start: int
    end: int
    position: Position
    committed: int
    problem: str = ""
    oldest: float | None = None
    oldest_waiting: float | None = None
    empty: bool = False


def lags(connection: Connection, groups: Iterable[Group] = GROUPS) -> tuple[Lag, ...]:
    """Each group on each of its topics, in the order of the flow; topics that do not exist are left out.

    Raises:
        BrokerAway: the broker does not answer.
    """
    admin = connection.admin()
    try:
        existing = admin.list_topics(timeout=TIMEOUT_S).topics
        wanted = [
            (group, topic, [TopicPartition(name, number) for number in existing[name].partitions])
            for group in groups
            for topic in group.topics
            if (name := connection.topic(topic)) in existing
        ]
        if not wanted:
            return ()
        kept = _retention_s(admin, {connection.topic(topic) for _, topic, _ in wanted})
        known = _groups(admin)
        found = [(group, topic, _positions(connection, admin, known, group, places)) for group, topic, places in wanted]
        _read_ages(connection, [at for _, _, at in found])
    except KafkaException as error:
        raise BrokerAway(f"the broker at {connection.bootstrap} does not answer: {error.args[0].str()}") from error
    return tuple(
        _lag(connection.group(group.name), group, topic, at, kept.get(connection.topic(topic)))
        for group, topic, at in found
    )


def behind(lags: Iterable[Lag]) -> dict[str, int]:
    """Unfinished records by stage, of every stage."""
    total = dict.fromkeys((group.stage for group in GROUPS), 0)
    for lag in lags:
        total[lag.stage] += lag.behind
    return total


# --- where each group stands ----------------------------------------------------------------------------------------


def _groups(admin: AdminClient) -> frozenset[str]:
    """The groups that exist: a new broker, asked for the offsets of one that does not, may not answer for 15 s."""
    return frozenset(one.group_id for one in admin.list_consumer_groups(request_timeout=TIMEOUT_S).result().valid)


def _positions(
    connection: Connection, admin: AdminClient, known: frozenset[str], group: Group, places: list[TopicPartition]
) -> dict[Place, _At]:
    name = connection.group(group.name)
    told = committed(connection, name, places, TIMEOUT_S, stable=False) if name in known else {}
    ends = _offsets(admin, places, OffsetSpec.latest())  # asked last: no commit lies beyond
    starts = _offsets(admin, places, OffsetSpec.earliest())
    return {place: _at(group, place, starts[place], ends[place], *told.get(place, (-1, None))) for place in ends}


def _offsets(admin: AdminClient, places: list[TopicPartition], spec: OffsetSpec) -> dict[Place, int]:
    wanted, until = dict.fromkeys(places, spec), time.monotonic() + TIMEOUT_S
    while True:
        asked = admin.list_offsets(wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=TIMEOUT_S)
        try:
            return {(place.topic, place.partition): future.result(TIMEOUT_S).offset for place, future in asked.items()}
        except KafkaException as error:
            if error.args[0].code() not in _NO_LEADER_YET or time.monotonic() > until:
                raise
            time.sleep(0.1)


def _at(group: Group, place: Place, start: int, end: int, offset: int, metadata: str | None) -> _At:
    """Where a group stands: nothing of ours in a commit, or one outside the log, is a problem that is named."""
    plain = Position(max(offset, start), max(offset, start) - 1, ())
    if offset < 0:
        return _At(start, end, plain, start)
    name = f"{group.name}: {place[0]}/{place[1]}"
    if offset < start:
        lost = f"{name}: committed {offset}, the log starts at {start}: up to {start - offset} records were lost"
        return _At(start, end, plain, offset, f"{lost} to retention; the worker stops and asks where to go on")
    if offset > end:
        made_anew = f"{name}: committed {offset}, the log ends at {end}: was the topic deleted and made anew?"
        return _At(start, end, plain, offset, f"{made_anew} Delete the group's offsets to start at its beginning")
    if not group.notes:
        return _At(start, end, plain, offset)
    try:
        return _At(start, end, decode(offset, metadata), offset)
    except ForeignMetadata as error:
        return _At(start, end, plain, offset, f"{name}: {error}; only Penstock may commit to its groups")


def _lag(name: str, group: Group, topic: str, at: Mapping[Place, _At], retention_s: float | None) -> Lag:
    return Lag(
        stage=group.stage,
        group=name,
        topic=topic,
        end=sum(one.end for one in at.values()),
        committed=sum(one.committed for one in at.values()),
        waiting=sum(0 if one.empty else max(0, one.end - one.position.highest - 1) for one in at.values()),
        in_work=sum(len(one.position.unfinished) for one in at.values()),
        oldest_waiting_s=_age(one.oldest_waiting for one in at.values()),
        oldest_s=_age(one.oldest for one in at.values()),
        retention_s=retention_s,
        problem="; ".join(one.problem for one in at.values() if one.problem),
    )


def _age(appended: Iterable[float | None]) -> float | None:
    known = [at for at in appended if at is not None]
    return round(max(0.0, time.time() - min(known)), 3) if known else None


def _retention_s(admin: AdminClient, names: Iterable[str]) -> dict[str, float]:
    """How long each topic keeps records; those that keep them for ever are left out."""
    asked = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names])
    found = {resource.name: future.result(TIMEOUT_S) for resource, future in asked.items()}
    return {
        name: int(config["retention.ms"].value) / 1000
        for name, config in found.items()
        if config["cleanup.policy"].value == "delete" and int(config["retention.ms"].value) > 0
    }


# --- since when -----------------------------------------------------------------------------------------------------


def _read_ages(connection: Connection, found: Iterable[Mapping[Place, _At]]) -> None:
    """Read the first waiting record and the first unfinished one of each partition that has any."""
    for at in found:
        waiting = {place: one.position.highest + 1 for place, one in at.items() if one.end > one.position.highest + 1}
        for place, appended in _peek(connection, waiting, {place: one.end for place, one in at.items()}).items():
            at[place].empty = appended is None  # transaction markers and aborted records only
            at[place].oldest = at[place].oldest_waiting = appended
        working = {place: one.position.unfinished[0] for place, one in at.items() if one.position.unfinished}
        for place, appended in _peek(connection, working, {place: one.end for place, one in at.items()}).items():
            at[place].oldest = appended if appended is not None else at[place].oldest


def _peek(connection: Connection, wanted: Mapping[Place, int], ends: Mapping[Place, int]) -> dict[Place, float | None]:
    """When the first record at or after each offset was appended, seconds since 1970; None: there is none."""
    if not wanted:
        return {}
    found: dict[Place, float | None] = {}
    consumer = connection.consumer(f"{connection.prefix}{connection.application}.reader", None, **_PEEK)
    try:
        consumer.assign([TopicPartition(*place, offset) for place, offset in wanted.items()])
        until = time.monotonic() + READ_S
        while len(found) < len(wanted) and time.monotonic() < until:
            message = consumer.poll(0.1)
            if message is not None and _note(message, found, ends):
                consumer.pause([TopicPartition(message.topic() or "", message.partition() or 0)])
    finally:
        consumer.close()
    return found


def _note(message: Message, found: dict[Place, float | None], ends: Mapping[Place, int]) -> bool:
    """Take what was read of a partition; whether it has been answered."""
    place = (message.topic() or "", message.partition() or 0)
    if place in found:
        return False
    error = message.error()
    if error is None:
        found[place] = message.timestamp()[1] / 1000
        return True
    if error.code() == KafkaError._PARTITION_EOF and (message.offset() or 0) >= ends[place]:  # noqa: SLF001
        found[place] = None
        return True
    return False

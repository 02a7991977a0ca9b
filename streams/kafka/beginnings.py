"""Where a newly assigned partition begins: its committed position and, for an ordered stage, what it remembers."""

import collections
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from streams.assignment import Assignment
from streams.commit_metadata import ForeignMetadata, Position, decode
from streams.errors import PositionLost, TopicMismatch
from streams.kafka.connection import Connection
from streams.kafka.offsets import committed, offsets
from streams.kafka.restore import restore
from streams.state import Changelog, PartitionState

log = structlog.get_logger(__name__)

AGAIN_S = 0.2
Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where to read from, how far the log goes, and what the last owner left, if the group has committed before."""

    offset: int
    end: int
    position: Position | None
    state: PartitionState[Any] | None

    def apply(self, assignment: Assignment, concurrency: int) -> None:
        """Have an assignment begin here."""
        assignment.state = self.state
        if self.position is not None:
            assignment.restore(self.position, concurrency, self.end)
        else:
            assignment.begin_at(self.offset)


class Beginnings:
    """Asks for one group, until the broker answers: while a transaction holds its positions, it does not."""

    def __init__(
        self, connection: Connection, group: str, topics: Sequence[str], changelog: Changelog[Any] | None
    ) -> None:
        self._connection = connection
        self._group = group
        self._topics = topics
        self._changelog = changelog
        self._admin = connection.admin()

    def find(
        self, partitions: Sequence[TopicPartition], starts: Mapping[Key, int], give_up: threading.Event
    ) -> dict[Key, Beginning]:
        """The beginning of each partition, whose logs start at `starts`; nothing if given up.

        Raises:
            PositionLost: something else has committed to the group.
            StateLost: what is remembered does not agree with its changelog.
            TopicMismatch: topics that are read together have different numbers of partitions.
        """
        while not give_up.is_set():
            try:
                # The positions first: once they are stable, no transaction of an earlier owner is open.
                found = committed(self._connection, self._group, partitions)
                ends = offsets(self._admin, partitions, OffsetSpec.latest())
                states = self._states(partitions, found, give_up)
            except KafkaException as error:
                log.info("positions not answered yet", group=self._group, error=str(error.args[0]))
                self._admin = self._connection.admin()  # an older one may be refused for ever after a restart
                give_up.wait(AGAIN_S)
            else:
                places = [(partition.topic, partition.partition) for partition in partitions]
                return {
                    place: self._beginning(place, found.get(place, (-1, None)), starts[place], ends[place], states)
                    for place in places
                }
        return {}

    def _beginning(
        self,
        place: Key,
        found: tuple[int, str | None],
        start: int,
        end: int,
        states: Mapping[int, PartitionState[Any]],
    ) -> Beginning:
        offset, metadata = found
        if offset < 0:
            return Beginning(start, end, None, states.get(place[1]))
        try:
            position = decode(offset, metadata)
        except ForeignMetadata as error:
            raise PositionLost(
                f"{self._group}, {place[0]}/{place[1]}: {error}. Only Penstock may commit to its groups; choose where "
                "to go on: delete the group's offset of this partition to start at its beginning"
            ) from error
        return Beginning(offset, end, position, states.get(place[1]))

    def _states(
        self,
        partitions: Sequence[TopicPartition],
        found: Mapping[Key, tuple[int, str | None]],
        give_up: threading.Event,
    ) -> dict[int, PartitionState[Any]]:
        """What the earlier records of each partition number have left; topics that are read together share it."""
        if self._changelog is None:
            return {}
        together = collections.Counter(partition.partition for partition in partitions)
        if lone := [number for number, count in together.items() if count != len(self._topics)]:
            raise TopicMismatch(
                f"{self._group}: of partition {lone[0]} not all of {', '.join(self._topics)} came to this worker. They "
                "must have equally many partitions: give the smaller one more"
            )
        expected = dict.fromkeys(together, False)
        for (_, number), (offset, _) in found.items():
            expected[number] = expected[number] or offset >= 0
        return restore(self._connection, self._admin, self._changelog, expected, give_up)


def position_lost(whose: str, error: KafkaError) -> PositionLost:
    """What to say when a committed offset is not in its log any more, or not yet."""
    return PositionLost(
        f"{whose} is outside its log ({error.str()}). Records may have been lost to retention. Choose where to go on "
        "and set the group's offset there with Kafka's own tool: kafka-consumer-groups --reset-offsets"
    )

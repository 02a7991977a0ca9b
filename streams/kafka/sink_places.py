"""Which partitions of `traces` a sink has, how far each was taken, and where each begins.

A partition starts paused and is placed at the lower of what the warehouse noted and what the group committed; it is
placed anew whenever its position can't be trusted any more. Only the sink's own thread calls.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from sinks.progress import Gap, Source
from streams.kafka.offsets import assign_paused, committed_by, seek
from streams.kafka.sink_notes import TIMEOUT_S, Note, in_one_line, topic_id

log = structlog.get_logger(__name__)

Committed = tuple[int, Note]
"""An offset of the group with its note; negative where the group never committed."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Where to begin in a partition, and which records were gone before they were stored."""

    offset: int
    gap: tuple[int, int] | None = None


def begin(noted: int | None, told: int | None, low: int, high: int, *, same_topic: bool = True) -> Begin:
    """Where to begin in a partition whose log reaches from `low` to `high`.

    A position that only one side has proves nothing: the warehouse may be a new one, the topic a new one whose offsets
    went with the old. Reading again from the log's start costs time, and rows that are there already collapse.

    Args:
        noted: the warehouse's next offset, if it has one.
        told: the group's committed offset, if there is one.
        low: the first offset of the log.
        high: the offset after its last record.
        same_topic: whether both are of this topic, and not of one of this name that was deleted.
    """
    if noted is None or not same_topic:
        return Begin(low)
    wanted = noted if told is None else min(noted, told)
    if wanted < low:
        return Begin(low, (wanted, low))
    return Begin(low if told is None or wanted > high else wanted)


@dataclass(slots=True, eq=False)
class Place:
    """One assignment of a partition. `next_offset` is the first that was not taken yet, once it is placed."""

    start: int
    next_offset: int = 0
    placed: bool = False
    held: str = ""
    committed: Committed | None = None

    @property
    def going(self) -> bool:
        """Whether its records are taken."""
        return self.placed and not self.held

    @property
    def settled(self) -> bool:
        """Whether the group knows where it is, and nothing else."""
        return self.committed is not None and (self.next_offset, self.held) == (
            self.committed[0],
            self.committed[1].paused,
        )

    def told(self, why: str) -> Committed:
        """What the group knows of it, with a reason why nothing moves."""
        assert self.committed is not None, "asked before it was learned"
        offset, note = self.committed
        return offset if offset >= 0 else self.start, note.because(why)


@dataclass
class Places:
    """The partitions of one topic that this member of the group has."""

    topic: str
    group: str
    new_admin: Callable[[], AdminClient]
    """Makes a client for each question: an older one may be refused for ever after a broker's restart."""
    stop: threading.Event
    _places: dict[int, Place] = field(default_factory=dict)
    _asked: dict[int, Committed] = field(default_factory=dict)
    _topic_id: str = ""

    # --- the group ---------------------------------------------------------------------------------------------------

    def on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Partitions start paused until it is known how far their rows reach."""
        starts = assign_paused(consumer, partitions, self.stop)
        self._places |= {partition: Place(start) for (_, partition), start in starts.items()}

    def on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """What is not noted of these is read again by the next owner."""
        for one in partitions:
            self._places.pop(one.partition, None)
        consumer.incremental_unassign(partitions)

    # --- what was taken ----------------------------------------------------------------------------------------------

    def take(self, partition: int, offset: int) -> bool:
        """Count a record as taken; False if it must be left: revoked meanwhile, not placed yet, or held before it."""
        place = self._places.get(partition)
        if place is None or not place.going:
            return False
        place.next_offset = offset + 1
        return True

    def reached(self, partition: int, end: int) -> None:
        """Nothing but marks of transactions lies between the last record taken and this offset.

        An idle log is trimmed to its end, which lies behind such a mark: noted before it, records would seem to be
        gone.
        """
        self.take(partition, end - 1)

    def hold(self, consumer: Consumer, partition: int, offset: int, why: str) -> None:
        """Take nothing from this record on; whoever gets the partition next looks at it anew."""
        place = self._places[partition]
        place.next_offset, place.held = offset, in_one_line(why)
        consumer.pause([TopicPartition(self.topic, partition)])

    def lose(self, consumer: Consumer, partition: int) -> None:
        """Place a partition anew: its position is gone from the log, or something of it was read and not taken.

        It is taken out of the assignment and put in again: after an offset out of range no seek is possible.
        """
        place = self._places.get(partition)
        if place is not None and place.placed:
            del self._places[partition]
            consumer.incremental_unassign([TopicPartition(self.topic, partition)])
            self.on_assign(consumer, [TopicPartition(self.topic, partition)])

    # --- commit ------------------------------------------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Whether the group knows all positions; False after a commit that failed."""
        return all(place.settled for place in self._places.values() if place.placed)

    def snapshot(self) -> dict[int, tuple[Place, int]]:
        """How far each partition was taken until now: what a flush may claim, whatever happens while it waits."""
        return {partition: (place, place.next_offset) for partition, place in self._places.items() if place.placed}

    def still(self, snapshot: Mapping[int, tuple[Place, int]]) -> dict[int, int]:
        """The part of a snapshot that was neither revoked nor lost since, not even to come back."""
        return {p: offset for p, (place, offset) in snapshot.items() if self._places.get(p) is place}

    def commit(self, consumer: Consumer, offsets: Mapping[int, int]) -> None:
        """Ask for a commit; `on_commit` hears what came of it.

        Never wait for it here: after a broker's restart it may need this consumer to be polled, and last for ever.
        """
        told = {p: (offset, Note(self._topic_id).because(self._places[p].held)) for p, offset in offsets.items()}
        if told:
            try:
                self._ask(consumer, told)
            except KafkaException as error:
                log.warning("commit failed", group=self.group, error=error.args[0].str())

    def on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Hear of a commit; a failure is told and not raised, because the next one will do."""
        refused = error or next((one.error for one in partitions if one.error is not None), None)
        if refused is not None:
            log.warning("commit failed", group=self.group, error=refused.str())
            return
        for one in partitions:
            place, asked = self._places.get(one.partition), self._asked.get(one.partition)
            if place is not None and asked is not None and asked[0] == one.offset:
                place.committed = asked

    def pause(self, consumer: Consumer, why: str) -> None:
        """Take nothing, and say why to whoever asks: with a commit that moves nothing."""
        consumer.pause(consumer.assignment())
        try:
            self._learn(consumer)
            news = {p: one for p, place in self._places.items() if (one := place.told(why)) != place.committed}
            if news:
                self._ask(consumer, news)
        except KafkaException as error:  # the reason is in the log too; told again at the next try
            log.debug("could not tell the group why nothing is stored", error=error.args[0].str())

    def resume(self, consumer: Consumer) -> None:
        """Go on, from just where each was left, with all but those that are not placed or held."""
        for partition, place in list(self._places.items()):
            if not place.going:
                continue
            try:
                seek(consumer, TopicPartition(self.topic, partition, place.next_offset))
            except KafkaException:
                self.lose(consumer, partition)
            else:
                consumer.resume([TopicPartition(self.topic, partition)])

    def _ask(self, consumer: Consumer, told: Mapping[int, Committed]) -> None:
        offsets = [TopicPartition(self.topic, p, offset, note.encode()) for p, (offset, note) in told.items()]
        self._asked.update(told)
        consumer.commit(offsets=offsets, asynchronous=True)

    # --- where to begin ----------------------------------------------------------------------------------------------

    def place(
        self, consumer: Consumer, noted: Callable[[], Mapping[Source, int]], on_gap: Callable[[Gap], None]
    ) -> None:
        """Resume each new partition where it begins; both callables may wait, and partitions come and go meanwhile."""
        if all(place.placed for place in self._places.values()):
            return
        reached = noted()
        try:
            self._learn(consumer)
            ends = {p: self._ends(consumer, p) for p, place in self._places.items() if not place.placed}
        except KafkaException as error:  # asked again at the next step
            log.info("positions not answered yet", group=self.group, error=error.args[0].str())
            return
        for partition, (low, high) in ends.items():
            self._place_one(consumer, partition, self._begin(partition, reached, low, high), on_gap)

    def _begin(self, partition: int, reached: Mapping[Source, int], low: int, high: int) -> Begin:
        known = self._places[partition].committed if partition in self._places else None
        offset, note = known or (-1, Note(self._topic_id))
        same = note.topic_id == self._topic_id
        if not same:
            log.warning("the topic was made anew: read from its start", topic=self.topic, partition=partition)
        noted = reached.get(Source(self.topic, partition))
        return begin(noted, offset if offset >= 0 else None, low, high, same_topic=same)

    def _place_one(self, consumer: Consumer, partition: int, at: Begin, on_gap: Callable[[Gap], None]) -> None:
        place = self._places.get(partition)
        if at.gap is not None and place is not None:
            on_gap(Gap(self.topic, partition, *at.gap))
            log.error("trace records were gone before they were stored", partition=partition, gap=at.gap)
        if place is None or self._places.get(partition) is not place:  # revoked while the gap waited to be written
            return
        try:
            seek(consumer, TopicPartition(self.topic, partition, at.offset))
        except KafkaException as error:  # tried again at the next step
            log.info("could not seek yet", group=self.group, partition=partition, error=error.args[0].str())
            return
        place.next_offset, place.placed = at.offset, True
        consumer.resume([TopicPartition(self.topic, partition)])

    def _learn(self, consumer: Consumer) -> None:
        """Ask what the group committed, where that is not known."""
        if all(place.committed is not None for place in self._places.values()):
            return
        admin = self.new_admin()
        found = topic_id(admin, self.topic)
        if self._topic_id not in {"", found}:  # all positions are of a topic that is no more
            for partition in list(self._places):
                self.lose(consumer, partition)
        self._topic_id = found
        unknown = [TopicPartition(self.topic, p) for p, place in self._places.items() if place.committed is None]
        for (_, partition), (offset, metadata) in committed_by(consumer, unknown).items():
            note = Note.decode(metadata) or Note(found)  # an older Penstock wrote none
            self._places[partition].committed = offset, note

    def _ends(self, consumer: Consumer, partition: int) -> tuple[int, int]:
        low, high = consumer.get_watermark_offsets(TopicPartition(self.topic, partition), TIMEOUT_S)
        return low, high

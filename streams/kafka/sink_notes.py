"""What the sink says with each commit to Kafka: which topic the offset is of, and why nothing moves if nothing does.

It travels as the commit's metadata, so whoever asks for the lag can read it, on any machine, while the sink waits.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Final

from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.errors import BrokerAway
from streams.kafka.connection import Connection
from streams.kafka.offsets import committed
from streams.topics import TRACES

STAGE: Final = "sink"
MAX_REASON: Final = 500  # characters; a commit's metadata may have 4,095 bytes
TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Note:
    """The metadata of one commit. `paused` is empty while rows are stored; `since` is in seconds since 1970."""

    topic_id: str
    paused: str = ""
    since: float = 0.0

    def encode(self) -> str:
        """As a commit's metadata."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, metadata: str | None) -> "Note | None":
        """A commit's metadata; None if it is none of ours."""
        try:
            return cls(**json.loads(metadata or ""))
        except (ValueError, TypeError):
            return None

    def because(self, why: str) -> "Note":
        """The note of a partition of which nothing is stored for this reason, or again if there is none."""
        if not why:
            return Note(self.topic_id)
        since = self.since if self.paused else round(time.time(), 3)
        return replace(self, paused=in_one_line(why), since=since)


def in_one_line(why: str) -> str:
    """A reason as a note holds it."""
    return " ".join(why.split())[:MAX_REASON]


@dataclass(frozen=True, slots=True)
class Pause:
    """Partitions of `traces` of which nothing is stored, why, and since when (seconds since 1970)."""

    partitions: tuple[int, ...]
    why: str
    since: float

    def __str__(self) -> str:
        minutes = max(0.0, time.time() - self.since) / 60
        numbers = ", ".join(map(str, self.partitions))
        return (
            f"the sink has stored nothing for {minutes:.0f} min ({TRACES.name}, partitions {numbers}; "
            f"nothing is lost within the topic's retention): {self.why}"
        )


def pauses(connection: Connection) -> tuple[Pause, ...]:
    """What the sinks wait for, one entry for each reason; empty when they store rows, or never ran.

    Raises:
        BrokerAway: the broker does not answer.
    """
    topic, admin = connection.topic(TRACES.name), connection.admin()
    try:
        found = admin.list_topics(timeout=TIMEOUT_S).topics.get(topic)
        if found is None:
            return ()
        places = [TopicPartition(topic, partition) for partition in found.partitions]
        answers = committed(connection, connection.group(STAGE), places)
    except KafkaException as error:
        raise BrokerAway(f"the broker at {connection.bootstrap} does not answer: {error.args[0].str()}") from error
    return by_reason({place[1]: Note.decode(metadata) for place, (_, metadata) in answers.items()})


def by_reason(notes: Mapping[int, Note | None]) -> tuple[Pause, ...]:
    """The pauses that the notes of some partitions tell."""
    told: dict[str, dict[int, float]] = {}
    for partition, note in sorted(notes.items()):
        if note is not None and note.paused:
            told.setdefault(note.paused, {})[partition] = note.since
    return tuple(Pause(tuple(since), why, min(since.values())) for why, since in told.items())


def topic_id(admin: AdminClient, topic: str) -> str:
    """The topic's own id: another one under the same name means that it was deleted and made anew.

    Raises:
        KafkaException: the broker did not answer, or there is no such topic.
    """
    futures = admin.describe_topics(TopicCollection([topic]), request_timeout=TIMEOUT_S)
    return str(futures[topic].result().topic_id)

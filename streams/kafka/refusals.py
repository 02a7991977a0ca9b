"""Records that the broker did not take, and whether it ever will: what can't heal must not be tried for ever."""

from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka.admin import AdminClient

from streams.errors import RecordRefused
from streams.kafka.connection import Connection
from streams.topics import MAX_BYTES

METADATA_S: Final = 5.0

_MISSING: Final = (
    "it does not exist. A worker makes missing topics when it starts, but what was in this one is gone; if it was "
    "removed by mistake, restore it before you start one again"
)
_FOR_GOOD: Final = {
    KafkaError.MSG_SIZE_TOO_LARGE: "the record is too large for it. Penstock writes at most {limit} bytes there: raise "
    "the topic's limit, kafka-configs --alter --topic {name} --add-config max.message.bytes={limit}",
    KafkaError.RECORD_LIST_TOO_LARGE: "the record is larger than the broker's segments: raise its segment.bytes",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "these credentials may not write to it: permit Write on the topic",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "these credentials may not write idempotently: permit IdempotentWrite",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "these credentials may not use the id: permit Write on it",
    KafkaError.INVALID_RECORD: "the broker finds the record invalid: see its log",
    KafkaError.POLICY_VIOLATION: "a policy of the broker forbids the record: see its log",
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT: "its message format is too old for headers and transactions",
    KafkaError.TOPIC_EXCEPTION: "its name is none that Kafka takes: see the setting prefix",
    KafkaError._UNKNOWN_TOPIC: _MISSING,  # noqa: SLF001 -- librdkafka's local codes are named so
    KafkaError._UNKNOWN_PARTITION: "it has fewer partitions than what was to be written names: give it its partitions back",  # noqa: SLF001, E501 -- as above
}
"""What is wrong, and what to do, by the error's code; every other error may pass."""


class Refusals:
    """What was not delivered in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._told: dict[str, KafkaError] = {}

    def clear(self) -> None:
        """A transaction begins."""
        self._told.clear()

    def told(self, error: KafkaError | None, message: Message) -> None:
        """A delivery report, as the producer calls it."""
        if error is not None:
            self.add(message.topic() or "", error)

    def add(self, topic: str, error: KafkaError) -> None:
        """A record for a topic, by its full name, was not taken; what can't heal says more than what can."""
        if topic not in self._told or error.code() in _FOR_GOOD:
            self._told[topic] = error

    def for_good(self, admin: AdminClient) -> RecordRefused | None:
        """The refusal that will never heal, if there is one."""
        for topic, error in self._told.items():
            why = _FOR_GOOD.get(error.code())
            timed_out = error.code() == KafkaError._MSG_TIMED_OUT  # noqa: SLF001 -- as above
            if why is None and timed_out and _missing(admin, topic):
                why = _MISSING
            if why is not None:
                limit = MAX_BYTES.get(self._connection.name_of(topic), 0)
                mend = why.format(limit=limit, name=topic)
                return RecordRefused(f"topic {topic} takes no record: {mend}. Nothing was committed ({error.str()})")
        return None


def _missing(admin: AdminClient, topic: str) -> bool:
    """Whether the broker, if it answers, knows no such topic: then the time-out was no accident."""
    try:
        return topic not in admin.list_topics(timeout=METADATA_S).topics
    except KafkaException:
        return False

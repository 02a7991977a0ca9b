"""Whether a transaction that failed can ever succeed: what can't heal must not be tried for ever.

Looked at only after a failure, and without delivery reports: when the producer has been fenced, the client raises while
it still calls for reports, and Python then ends the call with a SystemError instead of the error that matters.
"""

import re
import time
from collections.abc import Sequence
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from streams.errors import RecordRefused
from streams.kafka.connection import Connection
from streams.records import Record
from streams.sizes import size_of
from streams.topics import MAX_BYTES

METADATA_S: Final = 5.0
LOOK_AGAIN_S: Final = 1.0
"""Seconds between two looks at what topics there are: a broker that has just come back may not know all yet."""

_MISSING: Final = (
    "it does not exist. A worker makes missing topics when it starts, but what was in this one is gone; if it was "
    "removed by mistake, restore it before you start one again"
)
_FEWER: Final = "it has {count} partitions, and partition {partition} was to be written: give it its partitions back"
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
}
"""What is wrong, and what to do, by the error's code; every other error may pass."""

_NAMED: Final = re.compile(r"ProduceRequest for (\S+) \[")
_OF_SIZE: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})


def refusal(
    connection: Connection, admin: AdminClient, error: KafkaError, records: Sequence[Record]
) -> RecordRefused | None:
    """Why a transaction of these records, which failed with this error, would fail for ever; None if it may not."""
    why = _FOR_GOOD.get(error.code())
    if why is not None:
        topic = _blamed(connection, error, records)
        mend = why.format(limit=MAX_BYTES.get(connection.name_of(topic), 0), name=topic)
        return _refused(topic, mend, error)
    # Nothing of these is in the error; what the broker says of its topics tells.
    if (found := _unplaceable(connection, admin, records)) is not None:
        time.sleep(LOOK_AGAIN_S)
        if _unplaceable(connection, admin, records) == found:
            return _refused(*found, error)
    return None


def _refused(topic: str, mend: str, error: KafkaError) -> RecordRefused:
    return RecordRefused(f"topic {topic} takes no record: {mend}. Nothing was committed ({error.str()})")


def _blamed(connection: Connection, error: KafkaError, records: Sequence[Record]) -> str:
    """The full name of the topic that an error is about; if it does not say, the likeliest."""
    if (named := _NAMED.search(error.str())) is not None:
        return named[1]
    if error.code() in _OF_SIZE and records:
        return connection.topic(max(records, key=size_of).topic)
    return ", ".join(sorted({connection.topic(record.topic) for record in records}))


def _unplaceable(connection: Connection, admin: AdminClient, records: Sequence[Record]) -> tuple[str, str] | None:
    """A topic, or a partition of one, that is written to and does not exist; None if all do, or the broker is away."""
    try:
        there = admin.list_topics(timeout=METADATA_S).topics
    except KafkaException:
        return None
    for topic, partition in sorted({(connection.topic(one.topic), one.partition or 0) for one in records}):
        if topic not in there:
            return topic, _MISSING
        if partition >= (count := len(there[topic].partitions)) > 0:
            return topic, _FEWER.format(count=count, partition=partition)
    return None

"""Kill switches and newest contexts: written by whoever has to, waiting for nobody, acknowledged before they count.

What must not be decided by two at once, such as which version is in force, goes through the switchboard.
"""

from confluent_kafka import KafkaError, KafkaException, Message

from schemas.avro import Codec
from schemas.control import Control
from schemas.side import SnapshotVersion
from streams.errors import BrokerAway
from streams.kafka.connection import Connection
from streams.topics import CONTROL, SNAPSHOT_VERSIONS


def publish_control(connection: Connection, control: Control) -> int:
    """Append a switch to the history; returns its control version. Thrown twice it is as if thrown once.

    Raises:
        BrokerAway: the broker did not acknowledge it; nothing is known to have changed.
    """
    return _publish(connection, CONTROL.name, control.key, Codec("Control", Control).encode(control))


def publish_snapshot_version(connection: Connection, newest: SnapshotVersion) -> None:
    """Tell every process which version of a context is the newest.

    Raises:
        BrokerAway: the broker did not acknowledge it.
    """
    _publish(connection, SNAPSHOT_VERSIONS.name, newest.snapshot_id, newest.model_dump_json().encode())


def _publish(connection: Connection, topic: str, key: str, value: bytes) -> int:
    told: list[tuple[KafkaError | None, Message]] = []
    producer = connection.unhurt_producer()
    try:
        producer.produce(
            connection.topic(topic),
            value,
            key.encode(),
            on_delivery=lambda error, message: told.append((error, message)),
        )
        producer.flush(15)
    except KafkaException as error:
        raise BrokerAway(f"{key} was not written to {topic}: {error.args[0].str()}") from error
    if not told or told[0][0] is not None:
        why = told[0][0].str() if told and told[0][0] is not None else "no acknowledgement within 15 s"
        raise BrokerAway(f"{key} was not written to {topic} at {connection.bootstrap}: {why}")
    return told[0][1].offset() or 0

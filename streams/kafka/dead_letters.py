"""Dead letters on Kafka and what was done about them, read to their end as it is now."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, TypeVar, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.avro import Unreadable
from schemas.dead_letter_events import DeadLetterActionEvent
from streams.dead_letters import ACTIONS, Letter, read_letter
from streams.errors import BrokerAway, LetterUnfit
from streams.kafka.connection import Connection
from streams.records import Address, Headers, Raw
from streams.topics import DEAD_LETTER_ACTIONS, DEAD_LETTERS

T = TypeVar("T")

TIMEOUT_S: Final = 15.0
READ_AT_ONCE: Final = 50
"""Records taken from the client at once: each may have megabytes."""
FEW: Final = 20
"""Letters up to which each is fetched by itself, instead of reading all."""


class LetterBox:
    """Reads dead letters, and what was done about them: committed records only."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def actions(self) -> dict[str, DeadLetterActionEvent]:
        """The newest action about each letter, by the letter's address.

        Raises:
            BrokerAway: the broker does not answer.
        """
        found: dict[str, DeadLetterActionEvent] = {}
        for message in self._to_the_end(DEAD_LETTER_ACTIONS.name, None):
            try:
                action = ACTIONS.decode(message.value() or b"")
            except Unreadable as error:
                raise LetterUnfit(
                    f"{DEAD_LETTER_ACTIONS.name}/0/{message.offset()} is no action: {error}. Without it nobody knows "
                    "what was done about a letter"
                ) from error
            found[action.letter] = action
        return found

    def letters(self, since: datetime | None = None) -> Iterator[Letter]:
        """Every dead letter from then on, partition by partition as they come.

        Raises:
            BrokerAway: the broker does not answer.
        """
        for message in self._to_the_end(DEAD_LETTERS.name, since):
            yield self._letter(message)

    def fetch(self, addresses: Collection[Address]) -> Iterator[Letter]:
        """The letters at these addresses, in any order; what is not there is left out.

        Raises:
            BrokerAway: the broker does not answer.
        """
        if len(addresses) > FEW:
            yield from (letter for letter in self.letters() if letter.address in addresses)
            return
        name = self._connection.topic(DEAD_LETTERS.name)
        with _Closing(self._consumer()) as consumer:
            there = _partitions(consumer, self._connection, DEAD_LETTERS.name)
            for address in (one for one in addresses if one.partition in there):
                first = next(_read(consumer, [TopicPartition(name, address.partition, address.offset)]), None)
                if first is not None and first.offset() == address.offset:
                    yield self._letter(first)

    def _letter(self, message: Message) -> Letter:
        address = Address(DEAD_LETTERS.name, message.partition() or 0, message.offset() or 0)
        headers = cast("Headers", tuple(message.headers() or ()))
        letter = read_letter(address, message.timestamp()[1], Raw(message.key(), message.value(), headers))
        topic = self._connection.name_of(letter.why.topic)
        return replace(letter, why=letter.why.model_copy(update={"topic": topic}))

    def _consumer(self) -> Consumer:
        more: dict[str, Any] = {"enable.partition.eof": True, "auto.offset.reset": "earliest"}
        return self._connection.consumer(self._connection.group("dlq"), **more)

    def _to_the_end(self, topic: str, since: datetime | None) -> Iterator[Message]:
        name = self._connection.topic(topic)
        with _Closing(self._consumer()) as consumer:
            places = [
                TopicPartition(name, partition, OFFSET_BEGINNING)
                for partition in _partitions(consumer, self._connection, topic)
            ]
            if since is not None:
                for place in places:
                    place.offset = int(since.timestamp() * 1000)
                places = _asked(lambda: consumer.offsets_for_times(places, TIMEOUT_S), self._connection)
            yield from _read(consumer, places)


class _Closing:
    """A consumer for the length of a block."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def __enter__(self) -> Consumer:
        return self._consumer

    def __exit__(self, *_: object) -> None:
        self._consumer.close()


def _asked(ask: Callable[[], T], connection: Connection) -> T:
    try:
        return ask()
    except KafkaException as error:
        raise BrokerAway(f"the broker at {connection.bootstrap} does not answer: {error.args[0].str()}") from error


def _partitions(consumer: Consumer, connection: Connection, topic: str) -> list[int]:
    name = connection.topic(topic)
    found = _asked(lambda: consumer.list_topics(timeout=TIMEOUT_S), connection).topics.get(name)
    return [] if found is None else sorted(found.partitions)


def _read(consumer: Consumer, places: Sequence[TopicPartition]) -> Iterator[Message]:
    """What lies from these places on up to the end of each partition, as it is when it is reached."""
    unread, heard = {place.partition for place in places}, time.monotonic()
    consumer.assign(list(places))
    while unread:
        messages = consumer.consume(READ_AT_ONCE, 0.2)
        for message in messages:
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 -- librdkafka's local codes are named so
                unread.discard(message.partition() or 0)
            elif error.fatal():
                raise KafkaException(error)
        if messages:
            heard = time.monotonic()
        elif time.monotonic() - heard > TIMEOUT_S:
            raise BrokerAway(f"{places[0].topic} could not be read to its end: nothing came for {TIMEOUT_S:.0f} s")

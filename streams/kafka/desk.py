"""Where dead letters are acted on: transactions that only one can make at a time."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaException, Producer

from streams.errors import BrokerAway, SlotTaken
from streams.kafka.connection import Connection
from streams.kafka.refusals import refusal
from streams.records import Record
from streams.topics import BY_SLOT

TIMEOUT_S: Final = 15.0
TRIES: Final = 5


class Desk:
    """Where letters are acted on: whoever opens it last is the only one, so that no letter is redriven by two at once.

    Read the actions after it was opened: then nothing can be done about a letter that is not known here.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._admin = connection.admin()
        self._producer: Producer = connection.transactional_producer(connection.group("dlq"))

    def __enter__(self) -> Self:
        """Take the desk, and end what somebody before left open.

        Raises:
            BrokerAway: the broker does not answer.
        """
        give_up = time.monotonic() + 2 * TIMEOUT_S
        while True:
            try:
                self._producer.init_transactions(TIMEOUT_S)
            except KafkaException as failure:
                error = failure.args[0]
                if not error.retriable() or time.monotonic() > give_up:
                    raise BrokerAway(f"dead letters can't be acted on now: {error.str()}") from failure
            else:
                return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go; what was not committed is nothing."""
        self._producer.purge()

    def commit(self, records: Sequence[Record]) -> None:
        """Publish all of these or none.

        Raises:
            SlotTaken: somebody else has taken the desk, or the broker was away for too long.
            RecordRefused: the broker refuses a record, and always will; nothing of this was done.
            BrokerAway: it does not work now; nothing of this was done, unless it is said that this is not known.
        """
        for _ in range(TRIES):
            try:
                self._transact(records)
            except KafkaException as failure:
                self._give_back(failure, records)
            else:
                return
        raise BrokerAway(f"{TRIES} transactions in a row were aborted; nothing of this batch was done")

    def _transact(self, records: Sequence[Record]) -> None:
        self._producer.begin_transaction()
        for record in records:
            topic = self._connection.topic(record.topic)
            partition = 0 if record.topic in BY_SLOT else -1
            self._producer.produce(topic, record.value, record.key, partition, headers=list(record.headers))
        self._producer.flush(TIMEOUT_S)
        self._commit_until_answered()

    def _commit_until_answered(self) -> None:
        give_up = time.monotonic() + 4 * TIMEOUT_S
        while True:
            try:
                return self._producer.commit_transaction(TIMEOUT_S)
            except KafkaException as failure:
                if not failure.args[0].retriable():
                    raise
                if time.monotonic() > give_up:
                    said = f"the broker did not say whether it committed: {failure.args[0].str()}"
                    raise BrokerAway(f"{said}; `penstock dlq list` tells, once it answers") from failure

    def _give_back(self, failure: KafkaException, records: Sequence[Record]) -> None:
        """Abort, so that it can be tried again; what is no use to try again is raised."""
        error = failure.args[0]
        if error.fatal():
            raise SlotTaken(
                f"somebody else has begun to act on dead letters, or the broker was away too long ({error.str()}). "
                "What was done before stands; see it with `penstock dlq list`, then repeat"
            ) from failure
        try:
            self._producer.abort_transaction(TIMEOUT_S)
        except KafkaException as failed:
            raise BrokerAway(
                f"a transaction could not be aborted: {failed.args[0].str()}; nothing was done"
            ) from failed
        if (refused := refusal(self._connection, self._admin, error, records)) is not None:
            raise refused from failure

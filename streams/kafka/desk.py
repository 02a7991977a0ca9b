"""Where a person acts on what only one may change at a time: transactions that shut out whoever came before."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaError, KafkaException, Producer

from streams.errors import BrokerAway, SlotTaken
from streams.kafka.connection import AT_ONCE, Connection
from streams.kafka.refusals import refusal
from streams.records import Record
from streams.topics import BY_SLOT

TIMEOUT_S: Final = 15.0
TRIES: Final = 5


class Desk:
    """One thing that is acted on, such as dead letters: whoever opens its desk last is the only one who can.

    Read what you decide upon after it was opened: then nothing can be done that is not known here.
    """

    def __init__(self, connection: Connection, name: str, look: str) -> None:
        """`name` is the transactional id's, `look` the command that shows what was done."""
        self._connection = connection
        self._look = look
        self._admin = connection.admin()
        self._producer: Producer = connection.transactional_producer(connection.group(name), **AT_ONCE)

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
                    raise BrokerAway(f"nothing can be acted on now: {error.str()}") from failure
            else:
                return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go; what was not committed is nothing."""
        self.close()

    def close(self) -> None:
        """The same, without a block."""
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
                    raise BrokerAway(f"{said}; `{self._look}` tells, once it answers") from failure

    def _give_back(self, failure: KafkaException, records: Sequence[Record]) -> None:
        """Abort, so that it can be tried again; what is no use to try again is raised."""
        error = failure.args[0]
        if error.fatal():
            raise self._taken(error) from failure
        try:
            self._producer.abort_transaction(TIMEOUT_S)
        except KafkaException as failed:
            if failed.args[0].fatal():  # who was shut out may hear of it only now
                raise self._taken(failed.args[0]) from failed
            raise BrokerAway(
                f"a transaction could not be aborted: {failed.args[0].str()}; nothing was done"
            ) from failed
        if (refused := refusal(self._connection, self._admin, error, records)) is not None:
            raise refused from failure

    def _taken(self, error: KafkaError) -> SlotTaken:
        return SlotTaken(
            f"somebody else has begun to act on the same, or the broker was away too long ({error.str()}). Nothing "
            f"of this was done, what was done before stands; see it with `{self._look}`, then repeat"
        )

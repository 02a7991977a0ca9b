"""The client's line to the broker: one publisher, one thread that reads results, for both kinds of client."""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from penstock.client.job import Prepared
from penstock.client.mailbox import Mailbox
from penstock.client.pieces import Pieces, Watch
from penstock.client.result import JobResult, read_result
from penstock.client.words import SAFE_TO_REPEAT
from penstock.errors import ClientClosed, NotAcknowledged
from penstock.lines import connection
from penstock.settings import Settings, load_settings
from streams.kafka.clients import JobPublisher, Read, Reader
from streams.records import Address, Headers
from streams.topics import DELTAS, ESCALATIONS, JOBS, RESULTS

READ_AT_ONCE = 500
READ_WAIT_S = 0.1
ACKNOWLEDGE_S = 30.0
"""Seconds that a submission waits for the broker before it says that it does not know."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the broker acknowledged: the job is in `topic` and will end in exactly one result."""

    job_id: str
    trace_id: str
    topic: str
    partition: int
    offset: int


class Publishes(Protocol):
    """Publishes records, and tells when the broker has each."""

    def publish(
        self,
        topic: str,
        value: bytes,
        key: bytes | None,
        headers: Headers,
        acknowledged: Callable[[Address | None, str | None], None],
    ) -> None:
        """Queue a record."""
        ...

    def close(self) -> None:
        """Send what is queued, then stop."""
        ...


class Reads(Protocol):
    """Reads committed records."""

    def read(self, limit: int, wait_s: float) -> list[Read]:
        """Up to `limit` records."""
        ...

    def close(self) -> None:
        """Stop."""
        ...


@dataclass(frozen=True, slots=True)
class Options:
    """How a client behaves.

    `max_unacknowledged` jobs may be on their way to the broker before a submission has to wait. The newest `remember`
    results are kept for whoever asks later. `topic` is where jobs go. Without `read_results` nothing can be waited for,
    and nothing is read.
    """

    max_unacknowledged: int = 1000
    remember: int = 10_000
    topic: str = JOBS.name
    read_results: bool = True


class Link:
    """Open it in a thread that may block for some seconds; everything else returns at once."""

    def __init__(
        self,
        publisher: Publishes,
        reader: Reads | None,
        options: Options,
        open_pieces: Callable[[], Reads] | None = None,
    ) -> None:
        self.mailbox = Mailbox(options.remember)
        self._publisher = publisher
        self._reader = reader
        self._topic = options.topic
        self._closed = threading.Event()
        self._pieces = Pieces()
        self._open_pieces = open_pieces
        self._first_watch = threading.Lock()
        self._watching: threading.Thread | None = None
        self._thread = threading.Thread(target=self._read, name="results", daemon=True)
        if reader is not None:
            self._thread.start()

    def publish(self, job: Prepared) -> "Future[Receipt]":
        """Send a job; the future holds its receipt, or `NotAcknowledged`. It can't be cancelled.

        Raises:
            BrokerAway: the queue towards the broker stays full.
        """
        sent: Future[Receipt] = Future()
        sent.set_running_or_notify_cancel()

        def acknowledged(address: Address | None, error: str | None) -> None:
            if address is None:
                sent.set_exception(NotAcknowledged(f"job {job.job_id} was not acknowledged: {error}. {SAFE_TO_REPEAT}"))
            else:
                sent.set_result(Receipt(job.job_id, job.trace_id, address.topic, address.partition, address.offset))

        self._publisher.publish(self._topic, job.value, job.key, job.headers, acknowledged)
        return sent

    def expect(self, job_id: str, tenant: str | None) -> "Future[JobResult]":
        """The result of a job, once it is here.

        Raises:
            ClientClosed: this client reads no results.
        """
        self.require_reader()
        return self.mailbox.expect(job_id, tenant)

    def require_reader(self) -> None:
        """Check that results are read.

        Raises:
            ClientClosed: they are not.
        """
        if self._reader is None:
            raise ClientClosed("this client was opened with read_results=False: it can submit, but not wait or read")

    def watch(self, watch: Watch) -> None:
        """Have the pieces of an answer handed over while it is being written; the first time this takes a moment.

        Raises:
            BrokerAway: the broker does not answer, or has no topic for them.
            ClientClosed: this client reads no results.
        """
        self.require_reader()
        assert self._open_pieces is not None, "a link that reads results can read pieces of answers"
        with self._first_watch:
            if self._watching is None:
                reader = self._open_pieces()
                self._watching = threading.Thread(target=self._see, args=(reader,), name="deltas", daemon=True)
                self._watching.start()
        self._pieces.add(watch)

    def unwatch(self, watch: Watch) -> None:
        """Nobody watches this any more."""
        self._pieces.remove(watch)

    def _see(self, reader: Reads) -> None:
        """Read pieces until closed. Whatever ends this early, the results come all the same."""
        try:
            while not self._closed.is_set():
                for record in reader.read(READ_AT_ONCE, READ_WAIT_S):
                    try:
                        self._pieces.deliver(record.raw.key, record.raw.value)
                    except ValueError as error:
                        _warn("a record that is no piece of an answer, left out", record, error)
        finally:
            with contextlib.suppress(Exception):
                reader.close()

    def _read(self) -> None:
        assert self._reader is not None
        try:
            while not self._closed.is_set():
                for record in self._reader.read(READ_AT_ONCE, READ_WAIT_S):
                    self._deliver(record)
        except Exception as error:  # noqa: BLE001 -- whatever ended the reading, those who wait must hear of it
            self.mailbox.close(ClientClosed(f"results can't be read any more: {type(error).__name__}: {error}"))
        finally:
            with contextlib.suppress(Exception):
                self._reader.close()

    def _deliver(self, record: Read) -> None:
        try:
            result = read_result(record.address.topic, record.raw.value or b"")
        except ValueError as error:
            _warn("a record that is no result, left out", record, error)
        else:
            self.mailbox.deliver(result)

    def close(self) -> None:
        """Send what is queued, stop reading, tell those who still wait."""
        self._publisher.close()
        self._closed.set()
        if self._reader is not None:
            self._thread.join(5)
        if self._watching is not None:
            self._watching.join(5)
        self.mailbox.close(ClientClosed("the client was closed"))


def _warn(said: str, record: Read, error: Exception) -> None:
    import structlog  # noqa: PLC0415 -- a third of a second, for a line that is seldom written

    structlog.get_logger(__name__).warning(said, address=str(record.address), error=str(error))


def open_link(settings: Settings | None, broker: str | None, options: Options) -> Link:
    """A link to the broker of these settings; by default the project's, or what the environment says.

    The ends of `results` and `escalations` are taken here, so that no result of a later submission is missed.

    Raises:
        BrokerAway: the broker does not answer, or the topics do not exist.
        SettingsError: a setting is wrong.
    """
    found = settings or (load_settings() if broker is None else load_settings(broker=broker))
    line = connection(found)
    publisher = JobPublisher(line)  # first: the broker takes half a second to give an idempotent producer its id
    try:
        reader = Reader(line, [RESULTS.name, ESCALATIONS.name]) if options.read_results else None
    except BaseException:
        publisher.close()
        raise
    return Link(publisher, reader, options, lambda: Reader(line, [DELTAS.name]))

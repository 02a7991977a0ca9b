"""ClickHouse over HTTP, a server or the embedded engine alike: the only place that knows its client library."""

import json
import logging
import re
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, Error
from clickhouse_connect.driver.httputil import get_pool_manager

from schemas.trace import TABLES
from sinks import progress
from sinks.avro_body import Body
from sinks.errors import QueryFailed, Refusal, RowsRefused, SinkError, WarehouseAway, of_command, of_insert, of_query
from sinks.progress import Gap, Position, Source
from sinks.warehouse import Parameters, Rows

INSERT_SETTINGS: Final = {
    "async_insert": 0,  # an insert that is answered is stored
    "input_format_avro_allow_missing_fields": 1,  # an older writer's rows lack newer columns
    "max_partitions_per_insert_block": 0,  # a replay of a year is not an error
}
READ_ONLY: Final = {"readonly": 2}  # reads only, settings may still be given
EVENT_TABLES: Final = frozenset(table.TABLE for table in TABLES)
DATABASE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
DRIVER_S_WORDS: Final = re.compile(
    r"^Received ClickHouse exception, code: \d+, server response: |( \(version [^)]*\)+)?( \(for url [^)]*\))$"
)
HTTP_STATUS: Final = re.compile(r"HTTP status (\d{3})")

# The driver warns of every failed call before it raises it; what is raised is told by whoever catches it.
logging.getLogger("clickhouse_connect").setLevel(logging.ERROR)


class ClickHouse:
    """A database of a ClickHouse server: a sink for batches and a warehouse to ask.

    It connects at its first use, so it can be made while the server is away.

    Args:
        url: `http://host:port` or `https://…`, without user or password in it.
        user: whom to connect as.
        password: theirs; it appears in no representation and no error of this class.
        database: holds all tables and views.
        connect_timeout_s: whole seconds to wait for a connection.
        timeout_s: whole seconds to wait for an answer.

    Raises:
        ValueError: the address or the database's name can't be one.
    """

    def __init__(
        self,
        url: str,
        user: str = "default",
        password: str | None = None,
        database: str = "penstock",
        *,
        connect_timeout_s: int = 5,
        timeout_s: int = 60,
    ) -> None:
        self._address = _address(url)
        if not DATABASE_NAME.fullmatch(database):
            raise ValueError(f"{database!r} is no database name: expected letters, digits and underscores")
        self.database = database
        self._user = user
        self._password = password
        self._connect_timeout_s = connect_timeout_s
        self._timeout_s = timeout_s
        self._connected: Client | None = None
        self._closed = False
        self._connecting = threading.Lock()

    def __repr__(self) -> str:
        host, port, secure = self._address
        return f"ClickHouse('{'https' if secure else 'http'}://{host}:{port}', database={self.database!r})"

    def insert(self, table: str, body: Body, rows: int) -> None:
        """Store the rows of an Avro container body (see `sinks.port.Sink.insert`)."""
        if table not in EVENT_TABLES:
            raise RowsRefused(f"{table!r} is no table of events; they are {', '.join(sorted(EVENT_TABLES))}")
        with self._errors(of_insert) as client:
            # With its length told, what can be iterated is sent piece by piece; without, in chunks of HTTP's own.
            length = {"Content-Length": str(sum(map(len, body)))}
            pieces = cast("Generator[bytes]", body)
            summary = client.raw_insert(
                table, insert_block=pieces, fmt="Avro", settings=INSERT_SETTINGS, transport_settings=length
            )
        stored = summary.summary.get("written_rows")  # a proxy may have swallowed the header
        if stored is not None and int(stored) < rows:
            raise RowsRefused(f"{table}: ClickHouse read {stored} rows where the body says {rows}")

    def insert_json(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert a few rows of bookkeeping (see `sinks.warehouse.Warehouse`)."""
        body = "\n".join(json.dumps(dict(row)) for row in rows).encode()
        with self._errors(of_insert) as client:
            client.raw_insert(table, insert_block=body, fmt="JSONEachRow", settings=INSERT_SETTINGS)

    def query(self, sql: str, parameters: Parameters | None = None, *, read_only: bool = True) -> Rows:
        """Ask the database (see `sinks.warehouse.Warehouse`).

        Raises:
            QueryFailed: the SQL was refused, took longer than the time-out, or wanted to change something.
            WarehouseAway: it can't be reached.
        """
        settings = {"max_execution_time": self._timeout_s, **(READ_ONLY if read_only else {})}
        with self._errors(of_query) as client:
            answer = client.query(sql, parameters=dict(parameters or {}), settings=settings)
        return Rows(tuple(answer.column_names), tuple(tuple(row) for row in answer.result_rows))

    def command(self, sql: str) -> None:
        """Change tables (see `sinks.warehouse.Warehouse`)."""
        with self._errors(of_command) as client:
            client.command(sql)

    def create_database(self) -> None:
        """Create the database, unless it is there."""
        with self._errors(of_command) as client:
            client.command(f"CREATE DATABASE IF NOT EXISTS {self.database}", use_database=False)

    def progress(self) -> Mapping[Source, int]:
        """What was recorded last for each partition."""
        try:
            return progress.read(self)
        except QueryFailed as error:  # our own query is right, so it is the warehouse that is not
            raise of_insert(Refusal(error.code, None, error.message)) from None

    def set_progress(self, positions: Sequence[Position]) -> None:
        """Record how far the stored rows reach."""
        progress.write(self, positions)

    def record_gap(self, gap: Gap) -> None:
        """Record that part of the log was gone before it could be stored."""
        progress.write_gap(self, gap)

    def ping(self) -> None:
        """Return when the server answers this user, whether the database is there yet or not.

        Raises:
            WarehouseAway: it does not.
        """
        with self._errors(of_insert) as client:  # as of an insert: whatever the refusal, waiting is the answer
            client.command("SELECT 1", use_database=False)

    def close(self) -> None:
        """Let go of the connections; later calls raise WarehouseAway."""
        with self._connecting:
            self._closed = True
            if self._connected is not None:
                self._connected.close()
                self._connected = None

    @contextmanager
    def _errors(self, classify: Callable[[Refusal], SinkError]) -> Iterator[Client]:
        """The connected client, with its exceptions as those of this room."""
        try:
            yield self._client()
        except ClickHouseError as error:
            # Not `from error`: the library's text can hold what this class promises to keep to itself.
            raise classify(self._refusal(error)) from None

    def _client(self) -> Client:
        with self._connecting:
            if self._closed:
                raise WarehouseAway(f"{self!r} was closed")
            if self._connected is None:
                self._connected = self._connect()
            return self._connected

    def _connect(self) -> Client:
        host, port, secure = self._address
        nearby = host == "localhost" or host.startswith("127.") or host == "::1"
        client = clickhouse_connect.get_client(
            host=host,
            port=port,
            interface="https" if secure else "http",
            username=self._user,
            password=self._password or "",
            compress=not nearby,
            # A pool of our own: a proxy from the environment must not stand between two processes of one machine.
            pool_mgr=get_pool_manager() if nearby else None,
            client_name="penstock",
            autogenerate_session_id=False,  # a session would forbid a second query at the same time
            tz_mode="aware",
            connect_timeout=self._connect_timeout_s,
            send_receive_timeout=self._timeout_s,
        )
        client.database = self.database  # only now: connecting must not need a database that a migration will make
        return client

    def _refusal(self, error: ClickHouseError) -> Refusal:
        text = DRIVER_S_WORDS.sub("", str(error))
        if self._password:
            text = text.replace(self._password, "***")
        status = HTTP_STATUS.search(text)
        code = error.code if isinstance(error, Error) else None
        return Refusal(code, int(status[1]) if status else None, text)


def _address(url: str) -> tuple[str, int, bool]:
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError("the warehouse's address has a user or password in it; give them as user and password instead")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path not in {"", "/"}:
        raise ValueError(f"{url!r} is no address of a warehouse: expected http://host:port or https://host:port")
    secure = parts.scheme == "https"
    return parts.hostname, parts.port or (8443 if secure else 8123), secure

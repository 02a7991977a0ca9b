"""The one place that calls the engine. Every call opens its own connection, so nothing of one reaches another.

The calls block, let other Python threads run meanwhile, and may be made from any number of threads at once.
"""

import contextlib
import importlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from penstock.local.errors import LocalExtraMissingError
from penstock.local.warehouse.directory import OwnedDirectory
from penstock.local.warehouse.errors import EngineError, StatementRefusedError, WarehouseStartError
from penstock.local.warehouse.statement import Insert, Query, parse

DEFAULT_DATABASE: Final = "default"
DEFAULT_FORMAT: Final = "TabSeparated"

_CHUNK: Final = 4 << 20
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Call:
    """One statement and everything that goes with it."""

    text: bytes
    """The statement; for an INSERT with its data behind it."""
    query_id: str
    database: str = DEFAULT_DATABASE
    default_format: str = DEFAULT_FORMAT
    """For a result whose statement has no FORMAT clause."""
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Values for `{name:Type}`, in the engine's escaped text form."""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What the engine answered, and what it did for it."""

    body: bytes
    format: str | None
    """None if the statement has no result set."""
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    elapsed_s: float = 0.0


class Engine:
    """A running engine on a directory that this process owns."""

    def __init__(self, directory: OwnedDirectory) -> None:
        """Start the engine.

        Raises:
            LocalExtraMissingError: chdb is not installed.
            WarehouseStartError: the engine does not open the directory.
        """
        os.environ["TZ"] = "UTC"  # what the engine takes for its time zone, so that data does not depend on the machine
        try:
            self._chdb = importlib.import_module("chdb")._chdb  # noqa: SLF001 - only this layer can classify statements
        except ModuleNotFoundError as error:
            raise LocalExtraMissingError(error.name or "chdb") from error
        # Its own handlers keep a crashed process hanging; without them it ends, and whoever watches starts it again.
        self._chdb.set_signal_handlers_enabled(0)
        self._chdb.reset_signal_handlers()
        self._path = str(directory.engine)
        try:
            # Held open for as long as the engine shall live.
            self._keeper = self._chdb.connect(f"{self._path}?config-file={directory.config}")
        except RuntimeError as error:
            raise WarehouseStartError(
                f"the engine does not open {directory.engine}: {error}. If another program has it open, stop that; if "
                "the files are damaged, move the directory away and start with an empty one"
            ) from error
        self.version = _query(self._keeper, "SELECT version()").bytes().decode().strip()

    def run(self, call: Call) -> Result:
        """Run one statement.

        Raises:
            WarehouseError: the statement is refused, or it failed; nothing or part of it was done, as in ClickHouse.
        """
        statement = parse(call.text)
        with self._connection() as connection:
            if isinstance(statement, Insert):
                _prepare(connection, call, call.parameters)
                return _insert(connection, statement)
            kind = _kind(connection, statement.text)
            _prepare(connection, call, {})
            return _run(connection, call, statement, kind)

    def kill(self, query_id: str) -> None:
        """Cancel a statement that runs under this id, if there is one."""
        with self._connection() as connection, contextlib.suppress(RuntimeError):
            sql = "KILL QUERY WHERE Settings['log_comment'] = {id:String} ASYNC"
            _query(connection, sql, {"id": query_id.replace("\\", "\\\\")})

    def kill_all(self) -> None:
        """Cancel every statement that runs."""
        with self._connection() as connection, contextlib.suppress(RuntimeError):
            _query(connection, "KILL QUERY WHERE query_id != queryID() ASYNC")

    def close(self) -> None:
        """End the engine. No call may be under way."""
        self._keeper.close()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Any]:
        try:
            connection = self._chdb.connect(self._path)
        except RuntimeError as error:
            raise EngineError(str(error)) from error
        try:
            yield connection
        finally:
            connection.close()


def _query(connection: Any, sql: str | bytes, parameters: Mapping[str, str] | None = None, form: str = "TSVRaw") -> Any:
    return connection.query(sql, form, params=dict(parameters or {}))


def _kind(connection: Any, text: bytes) -> str:
    """How the engine classifies a statement: READ_ONLY, MUTATING, MUTATING_GLOBAL, CONTROL or UNKNOWN."""
    found = connection.classify_query(text, "")
    if found["statement_count"] > 1:
        raise StatementRefusedError(62, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed)")
    return str(found["query_class"].name)


def _prepare(connection: Any, call: Call, parameters: Mapping[str, str]) -> None:
    """Give a new connection the database and settings of a call, and parameters that can't go with its statement."""
    try:
        if call.database != DEFAULT_DATABASE:
            _query(connection, "USE {name:Identifier}", {"name": call.database.replace("\\", "\\\\")})
        _query(connection, _assignments(call, parameters))
    except RuntimeError as error:
        raise EngineError(str(error)) from error


def _assignments(call: Call, parameters: Mapping[str, str]) -> str:
    """The SET statement of a call; the settings that forbid changing settings come last."""
    settings = {"log_comment": call.query_id, **call.settings}
    if call.read_only:
        settings.setdefault("readonly", "2")
    unknown = next((name for name in settings if not _NAME.fullmatch(name)), None)
    if unknown is not None:
        raise StatementRefusedError(115, "UNKNOWN_SETTING", f"Unknown setting {unknown!r}")
    parts = [f"{name} = {_quoted(value)}" for name, value in settings.items() if name != "readonly"]
    parts += [f"param_{n} = {_quoted(value)}" for n, value in parameters.items() if _NAME.fullmatch(n)]
    parts += [f"readonly = {_quoted(settings['readonly'])}"] if "readonly" in settings else []
    return "SET " + ", ".join(parts)


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _run(connection: Any, call: Call, query: Query, kind: str) -> Result:
    if kind == "CONTROL" and b"TEMPORARY" in query.text[:200].upper():
        raise StatementRefusedError(
            48, "NOT_IMPLEMENTED", "Temporary tables are not supported: there are no sessions; make an ordinary table"
        )
    if kind == "UNKNOWN":
        # It does not parse. The engine shall say why, and do nothing in case it finds a way to read it after all.
        _query(connection, "SET readonly = 1")
    try:
        done = _query(connection, query.text, call.parameters, call.default_format)
        body = done.bytes()
        form = query.format or call.default_format
        has_result = kind == "READ_ONLY" or bool(body)
        if has_result and not body and form.lower() == "native":
            body = _native_header(connection, call, query)
    except RuntimeError as error:
        raise EngineError(str(error)) from error
    if kind == "UNKNOWN" and not body:
        raise StatementRefusedError(62, "SYNTAX_ERROR", "Syntax error: the engine does not know this statement")
    return _result(done, body, form if has_result else None)


def _native_header(connection: Any, call: Call, query: Query) -> bytes:
    """The columns of an empty result, which a server sends and the engine does not.

    Empty for a statement that can't be described, such as SHOW.
    """
    text = query.text if query.format_at is None else query.text[: query.format_at]
    try:
        described = _query(
            connection, b"DESCRIBE TABLE (" + text.rstrip().rstrip(b";") + b"\n)", call.parameters, "JSONCompactEachRow"
        )
    except RuntimeError:
        return b""
    columns = [json.loads(line)[:2] for line in described.bytes().splitlines()]
    strings = (word.encode() for column in columns for word in column)
    return _varint(len(columns)) + _varint(0) + b"".join(_varint(len(word)) + word for word in strings)


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*made, number))


def _insert(connection: Any, insert: Insert) -> Result:
    """Feed the data to the engine's parser; all of it counts as one insert."""
    stream = None
    try:
        stream = connection.send_insert(insert.head, insert.format)
        for at in range(0, len(insert.data), _CHUNK):
            connection.insert_append(stream, insert.data[at : at + _CHUNK])
        done, stream = connection.insert_done(stream), None
    except RuntimeError as error:
        raise EngineError(str(error)) from error
    finally:
        if stream is not None:
            with contextlib.suppress(RuntimeError):
                connection.insert_cancel(stream)
    return _result(done, b"", None)


def _result(done: Any, body: bytes, form: str | None) -> Result:
    return Result(
        body=body,
        format=form,
        read_rows=done.rows_read(),
        read_bytes=done.bytes_read(),
        written_rows=done.rows_written(),
        written_bytes=done.bytes_written(),
        elapsed_s=done.elapsed(),
    )


def open_engine(data: Path, *, max_memory: int) -> tuple[OwnedDirectory, Engine]:
    """Own a directory and start the engine on it.

    Raises:
        WarehouseStartError: either fails; the directory is not owned then.
        LocalExtraMissingError: chdb is not installed.
    """
    directory = OwnedDirectory.claim(data, max_memory=max_memory)
    try:
        return directory, Engine(directory)
    except BaseException:
        directory.release()
        raise

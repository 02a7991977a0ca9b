"""Avro: single-object encoding between stages, arrays of rows towards the warehouse; the only fastavro import.

A single object is `C3 01`, the writer schema's CRC-64-AVRO fingerprint, and the value; every schema that was ever
released lies in `avsc/`, so a reader of today reads records of any earlier version (and answers clearly for a later
one).
"""

import functools
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form
from pydantic import ValidationError

from schemas.avro_writer import LONG, Write, writer
from schemas.base import Record
from schemas.claim import Claim
from schemas.control import Bundle, Control
from schemas.envelope import Envelope
from schemas.job import Job
from schemas.result import Result
from schemas.side import (
    ContextRequest,
    Delta,
    Escalation,
    Feedback,
    Review,
    Signal,
    SnapshotVersion,
    Spend,
)
from schemas.stages import Admitted, Answer, Held, Routed, Validated
from schemas.state import Case, Seen, StateMark
from schemas.trace import TABLES

T = TypeVar("T", bound=Record)

FOLDER = Path(__file__).parent / "avsc"
MARKER = b"\xc3\x01"

RECORDS: dict[str, type[Record]] = {
    "Job": Job,
    "AdmittedRecord": Envelope[Admitted],
    "RoutedRecord": Envelope[Routed],
    "AnswerRecord": Envelope[Answer],
    "ValidatedRecord": Envelope[Validated],
    "HeldRecord": Envelope[Held],
    "Result": Result,
    "Escalation": Escalation,
    "Review": Review,
    "Feedback": Feedback,
    "Spend": Spend,
    "Delta": Delta,
    "Signal": Signal,
    "SnapshotVersion": SnapshotVersion,
    "ContextRequest": ContextRequest,
    "Seen": Seen,
    "Case": Case,
    "StateMark": StateMark,
    "Claim": Claim,
    "Control": Control,
    "Bundle": Bundle,
    **{table.__name__: table for table in TABLES},
}
"""Every record with a wire format, by its name in `avsc/`."""


class Unreadable(ValueError):  # noqa: N818 -- a thing that is unreadable, not an error of ours
    """Bytes that are no record of the schema expected; the message says what was found."""


class Codec(Generic[T]):
    """One wire model to and from Avro bytes."""

    def __init__(self, name: str, model: type[T]) -> None:
        self.name = name
        self.model = model
        self._schema = newest(name)
        self._prefix = MARKER + bytes.fromhex(_fingerprint(self._schema))
        self._source = newest_json(name)

    @functools.cached_property
    def _write(self) -> Write:
        return writer(self._source)  # made when first needed: those who only read need not wait for it

    def encode(self, value: T) -> bytes:
        """The value as a single object."""
        return self._prefix + self._write(value)

    def decode(self, data: bytes) -> T:
        """The value of a single object written under any released version of the schema.

        Raises:
            Unreadable: the bytes are no such object, or one of an unknown version.
        """
        if data[:10] != self._prefix:
            return self._decode_older(data)
        return self._read(data, None)

    def _decode_older(self, data: bytes) -> T:
        if data[:2] != MARKER:
            found = f"{len(data)} bytes starting with {data[:8].hex(' ') or 'nothing'}"
            raise Unreadable(f"expected an Avro single object (c3 01 …) of {self.name}, found {found}")
        writer = by_fingerprint(self.name).get(data[2:10].hex())
        if writer is None:
            known = len(versions(self.name))
            raise Unreadable(
                f"{self.name}: the writer's schema {data[2:10].hex()} is none of the {known} released versions known "
                "here; a newer Penstock wrote it: upgrade this reader first"
            )
        return self._read(data, writer)

    def _read(self, data: bytes, writer: Any | None) -> T:
        source = io.BytesIO(data)
        source.seek(10)
        try:
            if writer is None:
                fields = fastavro.schemaless_reader(source, self._schema, None)
            else:
                fields = fastavro.schemaless_reader(source, writer, self._schema)
            value = self.model.model_validate(fields)
        except ValidationError as error:
            raise Unreadable(f"{self.name}: {error.errors()[0]['loc']}: {error.errors()[0]['msg']}") from error
        except Exception as error:  # fastavro raises whatever the bytes provoke
            raise Unreadable(f"{self.name}: the Avro body is broken ({type(error).__name__}: {error})") from error
        if (left := len(data) - source.tell()) > 0:
            raise Unreadable(f"{self.name}: {left} bytes follow the value; one record holds one object")
        return value


def encode_rows(name: str, rows: Sequence[Record]) -> bytes:
    """Rows of one table as one Avro array body: block count, values, and the end mark (no schema, no framing)."""
    return b"".join((LONG[len(rows)], *map(_writer(name), rows), b"\0")) if rows else b"\0"


def decode_rows(name: str, data: bytes) -> list[dict[str, Any]]:
    """The rows of such an array, for tests and tools; the sink never decodes."""
    return cast("list[dict[str, Any]]", fastavro.schemaless_reader(io.BytesIO(data), _array(name), None))


@functools.cache
def rows_fingerprint(name: str) -> str:
    """The fingerprint, 16 hex digits, of a table's newest row schema: what the header of an array of rows names."""
    return _fingerprint(newest(name))


@functools.cache
def _writer(name: str) -> Write:
    return writer(newest_json(name))


@functools.cache
def _array(name: str) -> Any:
    return fastavro.parse_schema({"type": "array", "items": newest_json(name)})


@functools.cache
def versions(name: str) -> tuple[Path, ...]:
    """The released schema files of a record, oldest first.

    Raises:
        KeyError: no file of that name was released.
    """
    files = sorted(FOLDER.glob(f"{name}.v*.avsc"), key=lambda path: int(path.suffixes[-2][2:]))
    if not files:
        raise KeyError(f"schemas/avsc has no {name}.v1.avsc; write it with: python -m schemas.derive")
    return tuple(files)


def newest_json(name: str) -> Any:
    """The newest released schema of a record, as JSON."""
    return json.loads(versions(name)[-1].read_text())


@functools.cache
def newest(name: str) -> Any:
    """The newest released schema of a record, parsed."""
    return fastavro.parse_schema(newest_json(name))


@functools.cache
def by_fingerprint(name: str) -> dict[str, Any]:
    """Every released schema of a record by its fingerprint in hex."""
    parsed = [fastavro.parse_schema(json.loads(path.read_text())) for path in versions(name)]
    return {_fingerprint(schema): schema for schema in parsed}


def _fingerprint(schema: Any) -> str:
    return str(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


@functools.cache
def row_schema(table: str, of_fingerprint: str) -> str | None:
    """The schema of a table's rows, as JSON text, by the fingerprint that an array names; None if unknown."""
    name = next((row.__name__ for row in TABLES if table == row.TABLE), None)
    for path in versions(name) if name is not None else ():
        text = path.read_text()
        if _fingerprint(fastavro.parse_schema(json.loads(text))) == of_fingerprint:
            return text
    return None

"""Event streams, piece by piece as they arrive: server-sent events, and the binary frames of AWS."""

import base64
import binascii
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import orjson

SERVER_SENT: Final = "text/event-stream"
AWS: Final = "application/vnd.amazon.eventstream"

_PRELUDE: Final = struct.Struct(">III")
_CRC: Final = struct.Struct(">I")
_SHORT: Final = struct.Struct(">H")
_TEXT_HEADER: Final = 7
_MAX_FRAME: Final = 16 * 1024 * 1024
_MEASURED: Final = (6, _TEXT_HEADER)
_FIXED: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of the values of AWS header types that have no length of their own."""


class StreamError(Exception):
    """The bytes are no event stream; the text says where they stop being one."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name, empty if it has none, and its data."""

    name: str
    data: bytes


class EventReader(Protocol):
    """Makes events of bytes."""

    def feed(self, piece: bytes) -> Iterator[Event]:
        """The events that this piece completes.

        Raises:
            StreamError: the bytes are no event stream.
        """
        ...

    def end(self) -> Iterator[Event]:
        """What the stream's end completes."""
        ...


class ServerSentEvents:
    """Server-sent events as the WHATWG describes them; a last event without its blank line counts too."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._name = ""
        self._data: list[bytes] = []
        self._begun = False

    def feed(self, piece: bytes) -> Iterator[Event]:
        """The events that this piece completes."""
        if not self._begun and piece:
            self._begun, piece = True, piece.removeprefix(b"\xef\xbb\xbf")
        self._rest.append(piece)
        # Joined only when there is a line to read: a line without an end would be copied with every piece.
        if b"\n" in piece or b"\r" in piece:
            yield from self._lines(b"".join(self._rest))

    def _lines(self, found: bytes) -> Iterator[Event]:
        # A carriage return at the end may be half of a line end: it waits for what follows.
        held = b"\r" if found.endswith(b"\r") else b""
        lines = found.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = [lines.pop() + held]
        for line in lines:
            yield from self._line(line)

    def end(self) -> Iterator[Event]:
        """The last event."""
        yield from self._lines(b"".join(self._rest) + b"\n\n")

    def _line(self, line: bytes) -> Iterator[Event]:
        if not line:
            if self._data:
                yield Event(self._name, b"\n".join(self._data))
            self._name, self._data = "", []
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")


class AwsEvents:
    """Frames of AWS's event stream: lengths and a checksum, headers, a payload, a checksum of all."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[Event]:
        """The events of the frames that this piece completes.

        Raises:
            StreamError: a checksum or a length is wrong.
        """
        found, place = self._rest + piece, 0
        while (end := _frame_end(found, place)) is not None:
            yield _event(*_frame(found[place:end]))
            place = end
        self._rest = found[place:]

    def end(self) -> Iterator[Event]:
        """Nothing: a frame that was cut is no event, and its stream has not ended as it should."""
        return iter(())


def _frame_end(found: bytes, place: int) -> int | None:
    """Where the frame that begins here ends; nothing if it is not whole yet."""
    if len(found) - place < _PRELUDE.size:
        return None
    length, headers_length, crc = _PRELUDE.unpack_from(found, place)
    if crc != zlib.crc32(found[place : place + 8]):
        raise StreamError("a frame's length does not match its checksum")
    if not _PRELUDE.size + headers_length + _CRC.size <= length <= _MAX_FRAME:
        raise StreamError(f"a frame of {length} bytes with headers of {headers_length} can't be")
    return place + length if len(found) - place >= length else None


def _frame(frame: bytes) -> tuple[dict[str, str], bytes]:
    end = len(frame) - _CRC.size
    if _CRC.unpack_from(frame, end)[0] != zlib.crc32(frame[:end]):
        raise StreamError("a frame does not match its checksum")
    payload_at = _PRELUDE.size + _PRELUDE.unpack_from(frame)[1]
    return _headers(frame[_PRELUDE.size : payload_at]), frame[payload_at:end]


def _headers(block: bytes) -> dict[str, str]:
    """The headers of a frame that are texts."""
    found, place = {}, 0
    try:
        while place < len(block):
            name_end = place + 1 + block[place]
            name, kind, place = block[place + 1 : name_end].decode("utf-8", "replace"), block[name_end], name_end + 1
            if kind in _FIXED:
                place += _FIXED[kind]
                continue
            if kind not in _MEASURED:
                raise StreamError(f"a header of a frame is of kind {kind}, which there is none of")
            (length,) = _SHORT.unpack_from(block, place)
            place += _SHORT.size
            if kind == _TEXT_HEADER:
                found[name] = block[place : place + length].decode("utf-8", "replace")
            place += length
    except (IndexError, struct.error) as error:
        raise StreamError("the headers of a frame can't be read") from error
    return found


def _event(headers: dict[str, str], payload: bytes) -> Event:
    kind = headers.get(":event-type") or headers.get(":exception-type") or headers.get(":error-code", "")
    if headers.get(":message-type", "event") != "event":
        return Event("error", orjson.dumps({"error": {"type": kind, "message": payload.decode("utf-8", "replace")}}))
    # A model of another maker (Bedrock's invoke) sends that maker's own events in base64.
    if kind == "chunk":
        try:
            return Event("", base64.b64decode(orjson.loads(payload)["bytes"]))
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            raise StreamError("a chunk holds no base64") from error
    return Event(kind, payload)


def reader_of(content_type: str) -> EventReader:
    """What reads a stream of this content type; server-sent events unless it is AWS's."""
    return AwsEvents() if content_type.startswith(AWS) else ServerSentEvents()

import json
import struct
import zlib

import pytest

from processors.providers.event_streams import AwsEvents, Event, ServerSentEvents, StreamError


def _sse(*pieces):
    reader = ServerSentEvents()
    return [*(event for piece in pieces for event in reader.feed(piece)), *reader.end()]


@pytest.mark.parametrize(
    ("pieces", "events"),
    [
        ((b"data: a\n\n",), [Event("", b"a")]),
        ((b"event: x\r\ndata:a\r\ndata:  b\r\n\r\n",), [Event("x", b"a\n b")]),
        ((b"data: a\r", b"\n\r", b"\ndata: b"), [Event("", b"a"), Event("", b"b")]),
        ((b"\xef\xbb\xbfdata: a\r\r",), [Event("", b"a")]),
        ((b": comment\n\nid: 7\nretry: 9\nevent: lonely\n\ndata\n\n",), [Event("", b"")]),
        ((b"da", b"ta: \xc3", b"\xa9\n", b"\n"), [Event("", "é".encode())]),
        ((b"",), []),
    ],
)
def test_server_sent_events_are_read_as_the_standard_says(pieces, events):
    """Names, lines, comments, every kind of line end, wherever the pieces are cut; a last event needs no blank line."""
    assert _sse(*pieces) == events


def _frame(payload, **headers):
    block = b"".join(
        bytes([len(name) + 1])
        + b":"
        + name.replace("_", "-").encode()
        + b"\x07"
        + struct.pack(">H", len(value))
        + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 12 + len(block) + len(payload) + 4, len(block))
    frame = prelude + struct.pack(">I", zlib.crc32(prelude)) + block + payload
    return frame + struct.pack(">I", zlib.crc32(frame))


def test_frames_of_aws_are_events():
    """Name and payload; a model maker's own events in base64; an exception as an error event."""
    body = (
        _frame(b'{"a":1}', message_type="event", event_type="metadata")
        + _frame(b'{"bytes":"eyJiIjoyfQ=="}', message_type="event", event_type="chunk")
        + _frame(b'{"message":"slow"}', message_type="exception", exception_type="throttlingException")
    )
    first, second, third = AwsEvents().feed(body)
    assert (first, second) == (Event("metadata", b'{"a":1}'), Event("", b'{"b":2}'))
    assert third.name == "error"
    assert json.loads(third.data)["error"]["type"] == "throttlingException"


def test_a_frame_that_is_cut_is_no_event():
    """It waits for the rest, and is not made up at the end."""
    reader = AwsEvents()
    frame = _frame(b"{}", message_type="event", event_type="x")
    assert list(reader.feed(frame[:-1])) == []
    assert list(reader.end()) == []
    assert list(reader.feed(frame[-1:])) == [Event("x", b"{}")]


@pytest.mark.parametrize("place", [0, 5, 9, 20, -6, -1])
def test_a_damaged_frame_is_refused(place):
    """Wherever a bit turns over, a checksum tells."""
    frame = bytearray(_frame(b'{"text":"hello"}', message_type="event", event_type="contentBlockDelta"))
    frame[place] ^= 0x10
    with pytest.raises(StreamError):
        list(AwsEvents().feed(bytes(frame)))


@pytest.mark.parametrize("block", [b"\x05ab", b"\x01a\x07\x00", b"\x01a\x63\x00\x00"])
def test_headers_that_can_t_be_read_are_refused(block):
    """A header that runs past its block, or of a kind that there is none of, is no reason to break."""
    prelude = struct.pack(">II", 12 + len(block) + 4, len(block))
    frame = prelude + struct.pack(">I", zlib.crc32(prelude)) + block
    frame += struct.pack(">I", zlib.crc32(frame))
    with pytest.raises(StreamError):
        list(AwsEvents().feed(frame))

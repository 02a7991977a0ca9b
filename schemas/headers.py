"""Record headers: CloudEvents attributes (binary mode) and the W3C trace context."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from schemas.base import sha256_hex

Headers = tuple[tuple[str, bytes], ...]

_VERSION = ("ce_specversion", b"1.0")

JSON = b"application/json"
AVRO = b"application/avro"

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def cloud_event(kind: str, *, event_id: str, source: str, time: datetime, content_type: bytes, trace: str) -> Headers:
    """The headers of a record that Penstock writes: what it is, whose, when, and the trace that it belongs to."""
    return (
        _VERSION,
        ("ce_id", event_id.encode()),
        ("ce_type", b"penstock." + kind.encode()),
        ("ce_source", source.encode()),
        ("ce_time", time.isoformat().encode()),
        ("content-type", content_type),
        ("traceparent", trace.encode()),
    )


def header(headers: Iterable[tuple[str, bytes | None]], name: str) -> str | None:
    """The last value of a header as text, or None; bytes that are no UTF-8 read as absent."""
    for key, value in reversed(tuple(headers)):
        if key == name and value is not None:
            try:
                return value.decode()
            except UnicodeDecodeError:
                return None
    return None


def traceparent(headers: Sequence[tuple[str, bytes | None]], seed: str) -> str:
    """The producer's W3C traceparent if valid, else one derived from the seed: the same at every replay."""
    given = header(headers, "traceparent")
    if given is not None and _TRACEPARENT.fullmatch(given):
        return given
    digest = sha256_hex(seed)
    return f"00-{digest[:32]}-{digest[32:48]}-01"

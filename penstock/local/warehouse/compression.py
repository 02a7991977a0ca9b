"""How bodies are compressed on the wire: HTTP content encodings both ways, ClickHouse's own blocks inwards."""

import gzip
import importlib
import io
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from penstock.local.warehouse.errors import BodyTooLargeError, EncodingError

_CHUNK: Final = 1 << 20
_FASTEST: Final = 1

# A block: checksum (16 bytes, not checked: the loopback does not flip bits), method, size with this header, raw size.
_BLOCK: Final = struct.Struct("<16xBII")
_BLOCK_HEADER: Final = 9
_BLOCK_NONE, _BLOCK_LZ4, _BLOCK_ZSTD = 0x02, 0x82, 0x90


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _optional(*names: str) -> Any:
    """The first of the modules that is installed, or None: a peer asks only for what it knows, and gzip is always."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


_LZ4: Final = _optional("lz4.frame")
_LZ4_BLOCK: Final = _optional("lz4.block")
_ZSTD: Final = _optional("compression.zstd", "backports.zstd")
_BROTLI: Final = _optional("brotli")


class _Inflate(io.RawIOBase):
    """Reads a zlib stream, or one without zlib's header, as some peers send for `deflate`."""

    def __init__(self, data: bytes) -> None:
        self._rest = data
        self._machine = zlib.decompressobj()
        try:
            zlib.decompressobj().decompress(data[:64], 1)
        except zlib.error:
            self._machine = zlib.decompressobj(-zlib.MAX_WBITS)

    def read(self, size: int = -1) -> bytes:
        made = self._machine.decompress(self._rest, max(size, 0))
        self._rest = self._machine.unconsumed_tail
        if not made and not self._machine.eof:
            raise EOFError("the stream ends early")
        return made


def _brotli(data: bytes) -> _Source:
    # Its decompressor has no bound on what one step makes; the bound is checked afterwards.
    return io.BytesIO(_BROTLI.decompress(data))


_DAMAGE: Final[tuple[type[Exception], ...]] = (
    OSError,
    EOFError,
    RuntimeError,
    zlib.error,
    *(
        error
        for module, name in ((_ZSTD, "ZstdError"), (_BROTLI, "error"), (_LZ4_BLOCK, "LZ4BlockError"))
        if (error := getattr(module, name, None)) is not None
    ),
)
"""What the libraries raise for damaged input."""

_READERS: Final[Mapping[str, Callable[[bytes], _Source]]] = {
    "gzip": lambda data: gzip.GzipFile(fileobj=io.BytesIO(data)),
    "x-gzip": lambda data: gzip.GzipFile(fileobj=io.BytesIO(data)),
    "deflate": _Inflate,
    **({"lz4": lambda data: _LZ4.open(io.BytesIO(data))} if _LZ4 else {}),
    **({"zstd": lambda data: _ZSTD.open(io.BytesIO(data))} if _ZSTD else {}),
    **({"br": _brotli} if _BROTLI else {}),
}

_WRITERS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    **({"lz4": lambda data: bytes(_LZ4.compress(data))} if _LZ4 else {}),
    **({"zstd": lambda data: bytes(_ZSTD.compress(data, level=_FASTEST))} if _ZSTD else {}),
    "gzip": lambda data: gzip.compress(data, _FASTEST, mtime=0),
    "deflate": lambda data: zlib.compress(data, _FASTEST),
    **({"br": lambda data: bytes(_BROTLI.compress(data, quality=_FASTEST))} if _BROTLI else {}),
}


def choose(accepted: str) -> str | None:
    """Return the first encoding of an `Accept-Encoding` header that can be written here, or None."""
    for part in accepted.lower().split(","):
        name, _, quality = (piece.strip() for piece in part.partition(";"))
        if name in _WRITERS and quality.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}:
            return name
    return None


def compress(body: bytes, encoding: str) -> bytes:
    """Compress for the wire, as fast as the encoding can: the peer is on the same machine."""
    return _WRITERS[encoding](body)


def decompress(body: bytes, encoding: str, *, limit: int) -> bytes:
    """Undo a content encoding.

    Raises:
        EncodingError: it is not known here, or the body is damaged.
        BodyTooLargeError: more than `limit` bytes come out.
    """
    reader = _READERS.get(encoding)
    if reader is None:
        known = ", ".join(sorted(_READERS))
        raise EncodingError(f"Unknown Content-Encoding {encoding!r}; expected one of {known}")
    parts, size = [], 0
    try:
        source = reader(body)
        while part := source.read(_CHUNK):
            parts.append(part)
            size += len(part)
            if size > limit:
                raise BodyTooLargeError(limit)
    except _DAMAGE as error:
        raise EncodingError(f"The body is not valid {encoding}: {error}") from error
    return b"".join(parts)


def decompress_blocks(body: bytes, *, limit: int) -> bytes:
    """Undo ClickHouse's own block compression (`decompress=1`).

    Raises:
        EncodingError: a block is cut off, or compressed with a method other than none, LZ4 or ZSTD.
        BodyTooLargeError: more than `limit` bytes come out.
    """
    parts, at, size = [], 0, 0
    while at < len(body):
        if len(body) - at < _BLOCK.size:
            raise EncodingError(f"A compressed block is cut off at byte {at}")
        method, packed_size, raw_size = _BLOCK.unpack_from(body, at)
        size += raw_size
        if size > limit:
            raise BodyTooLargeError(limit)
        packed = body[at + _BLOCK.size : at + _BLOCK.size - _BLOCK_HEADER + packed_size]
        at += _BLOCK.size - _BLOCK_HEADER + packed_size
        if at > len(body) or packed_size < _BLOCK_HEADER:
            raise EncodingError(f"A compressed block is cut off: it says {packed_size} bytes, {len(packed) + 9} came")
        parts.append(_block(method, packed, raw_size))
    return b"".join(parts)


def _block(method: int, packed: bytes, raw_size: int) -> bytes:
    try:
        if method == _BLOCK_NONE:
            return packed
        if method == _BLOCK_LZ4 and _LZ4_BLOCK:
            return bytes(_LZ4_BLOCK.decompress(packed, uncompressed_size=raw_size))
        if method == _BLOCK_ZSTD and _ZSTD:
            return decompress(packed, "zstd", limit=raw_size)
    except BodyTooLargeError as error:
        raise EncodingError(f"A compressed block says that it holds {raw_size} bytes, and holds more") from error
    except _DAMAGE as error:
        raise EncodingError(f"A compressed block is damaged: {error}") from error
    raise EncodingError(f"Unknown compression method 0x{method:02x} of a block; expected none, LZ4 or ZSTD")

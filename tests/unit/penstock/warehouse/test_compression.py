import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.local.warehouse import compression
from penstock.local.warehouse.errors import BodyTooLargeError, EncodingError

ENCODINGS = ["gzip", "deflate", "lz4", "zstd"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(data=st.binary(max_size=5000))
def test_what_is_packed_is_unpacked(encoding, data):
    """Each encoding gives back what was put in."""
    assert compression.decompress(compression.compress(data, encoding), encoding, limit=5000) == data


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_bomb_is_not_unpacked(encoding):
    """What would become larger than the limit is refused on the way."""
    bomb = compression.compress(bytes(50 << 20), encoding)
    with pytest.raises(BodyTooLargeError, match="1048576"):
        compression.decompress(bomb, encoding, limit=1 << 20)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("damage", [lambda data: data[:-5], lambda _: b"nonsense", lambda data: data[:20]])
def test_damage_is_named(encoding, damage):
    """A damaged body is an error that names the encoding, whatever the library raises."""
    packed = compression.compress(b"".join(str(n).encode() for n in range(1000)), encoding)
    with pytest.raises(EncodingError, match=encoding):
        compression.decompress(damage(packed), encoding, limit=1 << 20)


def test_deflate_without_header():
    """The raw kind of deflate, which some clients send, is read too."""
    packed = zlib.compress(b"x" * 1000, wbits=-15)
    assert compression.decompress(packed, "deflate", limit=1000) == b"x" * 1000


def test_unknown_encoding_says_what_is_known():
    """An unknown encoding is answered with those that are known."""
    with pytest.raises(EncodingError, match=r"expected one of .*gzip"):
        compression.decompress(b"x", "snappy", limit=10)


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("gzip", "gzip"),
        ("lz4,zstd,gzip,deflate", "lz4"),
        ("snappy, ZSTD;q=0.5, gzip", "zstd"),
        ("gzip;q=0, deflate", "deflate"),
        ("identity", None),
        ("*", None),
        ("", None),
    ],
)
def test_choosing(accepted, chosen):
    """The first encoding that the peer accepts and that is known here is taken."""
    assert compression.choose(accepted) == chosen


@given(st.binary(max_size=200))
def test_blocks_are_read_or_refused(data):
    """Bytes that are no blocks are refused, or read to no more than the limit."""
    try:
        assert len(compression.decompress_blocks(data, limit=1000)) <= 1000
    except (EncodingError, BodyTooLargeError):
        return

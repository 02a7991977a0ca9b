"""Commit metadata: what is finished above the watermark survives a change of owner."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.commit_metadata import MAX_CHARACTERS, ForeignMetadata, Position, decode, encode


@st.composite
def positions(draw):
    base = draw(st.integers(0, 2**40))
    span = draw(st.integers(0, 200_000))
    above = draw(st.sets(st.integers(0, span), max_size=400)) if span else set()
    unfinished = tuple(sorted({base, *(base + offset for offset in above)})) if above else ()
    return Position(base, base + span if unfinished else base - 1, unfinished)


@given(positions())
def test_a_position_survives_the_round_trip(position):
    """Decoding what was encoded gives the same position."""
    assert decode(position.base, encode(position)) == position


@given(positions(), st.integers(0, 2**40))
def test_a_stamp_tells_commits_of_one_position_apart(position, stamp):
    """Whoever committed last can be told, and the position is the same."""
    first, second = encode(position, stamp), encode(position, stamp + 1)
    assert first != second
    assert decode(position.base, second) == position


def test_what_was_committed_before_there_were_stamps_is_read():
    """A group that was committed by the version before goes on where it stood."""
    assert decode(5, "2:38fc5197:1qA>A00002") == Position(5, 9, (5, 7))


def test_fifteen_hundred_unfinished_over_a_wide_span_fit():
    """The bound on concurrency per partition fits Kafka's limit on metadata."""
    unfinished = tuple(range(10_000_000, 10_000_000 + 200_000, 133))[:1500]
    assert len(encode(Position(unfinished[0], unfinished[-1] + 1, unfinished))) <= MAX_CHARACTERS


def test_too_many_unfinished_are_refused_with_the_mend():
    """What does not fit is an error that names the setting to change, never a truncated commit."""
    unfinished = tuple(range(0, 900_000, 300))
    with pytest.raises(ValueError, match="lower the stage's concurrency"):
        encode(Position(0, 900_000, unfinished))


@pytest.mark.parametrize(
    ("offset", "metadata", "said"),
    [
        (5, "", "no metadata"),
        (5, None, "no metadata"),
        (5, "1:00000000:abc", "version '1'"),
        (5, "hello", "version 'hello'"),
        (5, "3:00000000:abc", "checksum"),
        (6, encode(Position(5, 9, (5, 7))), "base 5"),
    ],
)
def test_a_foreign_commit_is_named(offset, metadata, said):
    """Metadata of another writer, version or base is an error that says what was found."""
    with pytest.raises(ForeignMetadata, match=said):
        decode(offset, metadata)


def test_a_position_knows_what_is_finished():
    """Below the base and above it but not unfinished is finished; beyond the highest is not."""
    position = Position(10, 20, (10, 15))
    assert [offset for offset in range(8, 23) if not position.finished(offset)] == [10, 15, 21, 22]

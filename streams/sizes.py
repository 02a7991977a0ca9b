"""How large a record may be. What a broker refuses for ever would hold up the commits of every stage of its process.

Sizes are counted before compression: an upper bound of what the broker will count.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from schemas.base import JsonText
from schemas.envelope import Envelope, Head
from schemas.stages import Admitted, Submission
from schemas.submission import undecided_job
from streams.errors import RecordTooLarge
from streams.header_names import CUT
from streams.records import Emission, Headers, Record
from streams.tiers import goes_to
from streams.topics import DEAD_LETTERS, MAX_BYTES

MAX_CARRIED: Final = 256 * 1024
"""Bytes of a value that travels by itself; a larger one stays in the claim store."""
FRAMING = 128
"""Bytes that a record, or a header of it, needs beside its content: more than enough."""

_TAKEN_ANYWHERE: Final = min(MAX_BYTES.values())

LONG_KEY = 1024
"""Bytes of a producer's key above which it is left out where nothing else helps."""

LETTER_HEADERS = "__dlq.errors.topic"
"""The first of the headers that say why a record was given up on; those before it are the record's own."""


def size_of(record: Record) -> int:
    """Bytes of a record, framing included."""
    size = len(record.key or b"") + len(record.value or b"") + FRAMING
    for name, value in record.headers:
        size += len(name) + len(value or b"") + FRAMING
    return size


def limit_of(record: Record) -> int:
    """Bytes that its topic takes; a waiting record must also fit where it returns to."""
    limit = MAX_BYTES[record.topic]
    return min(limit, MAX_BYTES.get(goes_to(record), limit))


def too_large(record: Record) -> str | None:
    """Why the broker would refuse it; None if it takes it."""
    size = size_of(record)
    if size <= _TAKEN_ANYWHERE:
        return None
    limit = limit_of(record)
    return f"a record of {size} bytes for {record.topic}, which takes {limit}" if size > limit else None


def taken(emission: Emission) -> Emission:
    """The emission, if the broker takes its records.

    Raises:
        RecordTooLarge: it would refuse one of them for ever.
    """
    for record in emission.records:
        if (why := too_large(record)) is not None:
            raise RecordTooLarge(why)
    return emission


def failed_that_fits(fail: Callable[[Envelope[Any]], Emission], envelope: Envelope[Any]) -> Emission:
    """How a job fails: with all that is known of it, or, where no record would hold that, with its identity alone.

    Dead letters are left as they are: they are cut by `letter_that_fits`, which may keep their value elsewhere.
    """
    emission = fail(envelope)
    ends = (record for record in emission.records if record.topic != DEAD_LETTERS.name)
    return fail(bare(envelope)) if any(too_large(record) for record in ends) else emission


def bare(envelope: Envelope[Any]) -> Envelope[Admitted]:
    """An envelope that fits everywhere: whose job it is, and nothing that a producer may have made large."""
    head = slim(envelope.head)
    return Envelope[Admitted].made(head=head, payload=Admitted(job=undecided_job(Submission(size=0), head.workflow)))


def slim(head: Head) -> Head:
    """A head without what a producer may have made large."""
    origin = head.origin
    key = origin.key if len(origin.key or b"") <= LONG_KEY else None
    short = origin.model_copy(update={"headers": (), "key": key})
    return head.model_copy(update={"path": JsonText("[]"), "segments": {}, "flags": (), "origin": short})


def letter_that_fits(record: Record) -> Record:
    """A dead letter as its topic takes it: its own headers first, then its key, then its value are given up.

    What was left out is named in a header. The whole record still lies where the address in the headers says.
    """
    first = max((n for n, (name, _) in enumerate(record.headers) if name == LETTER_HEADERS), default=0)
    why: Headers = record.headers[first:]
    smaller: tuple[tuple[str, Callable[[Record], Record]], ...] = (
        ("headers", lambda letter: replace(letter, headers=why)),
        ("key", lambda letter: replace(letter, key=None)),
        ("value", lambda letter: replace(letter, value=None)),
    )
    cut: list[str] = []
    for part, without in smaller:
        if too_large(record) is None:
            break
        before, record = size_of(record), without(record)
        cut.append(f"{part} ({before - size_of(record)} bytes)")
    return record if not cut else replace(record, headers=(*record.headers, (CUT, ", ".join(cut).encode())))

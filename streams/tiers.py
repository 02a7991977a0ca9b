"""The tiers that records wait in: one topic for each span of waiting, so that a long wait holds up no short one."""

from dataclasses import dataclass

from streams.header_names import RETURN_TOPIC, header_text
from streams.records import Record
from streams.topics import PARKED, RETRIES_5M, RETRIES_10S, Topic


@dataclass(frozen=True)
class Tier:
    """A topic of waiting records. `name` is its runner's and its consumer group's.

    A record stays for `longest_s` seconds at most; one that must wait longer is then looked at and waits again.
    """

    name: str
    topic: Topic
    longest_s: float


TIERS = (
    Tier("delays", RETRIES_10S, 10.0),
    Tier("delays.5m", RETRIES_5M, 300.0),
    Tier("delays.parked", PARKED, 300.0),
)
"""The shortest first; the last takes every longer wait, in pieces."""
WAITING = frozenset(tier.topic.name for tier in TIERS)
"""The topics of the tiers."""


def tier_for(wait_s: float) -> Tier:
    """Where a record waits that has so many seconds to wait."""
    return next((tier for tier in TIERS if wait_s <= tier.longest_s), TIERS[-1])


def goes_to(record: Record) -> str:
    """The topic that a record is for: its own, or, if it waits, the one that it returns to."""
    return header_text(record.headers, RETURN_TOPIC) if record.topic in WAITING else record.topic

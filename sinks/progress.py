"""How far the rows in the warehouse reach into the log: the one file of this room that knows topics and offsets.

The order that makes it safe, for whoever drives a sink: insert the rows; then record the positions after them; then
commit to Kafka. Start again at the lower of the two. What was inserted twice collapses, since its keys are equal.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sinks.warehouse import Warehouse


class Source(NamedTuple):
    """One partition of a topic."""

    topic: str
    partition: int


class Position(NamedTuple):
    """All records of this partition before `next_offset` are rows in the tables (or dead letters)."""

    topic: str
    partition: int
    next_offset: int


class Gap(NamedTuple):
    """The records from `wanted_offset` up to, not including, `found_offset` were gone before they could be read."""

    topic: str
    partition: int
    wanted_offset: int
    found_offset: int


def read(warehouse: Warehouse) -> Mapping[Source, int]:
    """The next offset of each partition ever recorded: the one written last, even if an earlier one was higher.

    A topic that was made anew starts below what was recorded for the old one; taking the highest would skip its rows.
    """
    answer = warehouse.query(
        "SELECT topic, partition, argMax(next_offset, (written_at, next_offset)) FROM sink_progress "
        "GROUP BY topic, partition"
    )
    return {Source(topic, partition): next_offset for topic, partition, next_offset in answer.rows}


def write(warehouse: Warehouse, positions: Sequence[Position]) -> None:
    """Record positions; call it after the rows before them were inserted."""
    if positions:
        warehouse.insert_json("sink_progress", [position._asdict() for position in positions])


def write_gap(warehouse: Warehouse, gap: Gap) -> None:
    """Record that records are missing; the same gap recorded twice is one."""
    warehouse.insert_json("sink_gaps", [gap._asdict()])


def gaps(warehouse: Warehouse) -> tuple[Gap, ...]:
    """All gaps on record; there should be none."""
    answer = warehouse.query(
        "SELECT topic, partition, wanted_offset, found_offset FROM sink_gaps FINAL "
        "ORDER BY topic, partition, wanted_offset"
    )
    return tuple(Gap(*row) for row in answer.rows)

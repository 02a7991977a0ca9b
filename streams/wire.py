"""Envelopes to records: key, bytes and headers of what a stage writes."""

from datetime import datetime
from typing import TypeVar

from schemas.base import Record as Model
from schemas.envelope import Envelope
from schemas.headers import cloud_event
from schemas.side import DeadLetter
from streams.header_names import DUE, FIRST_SEEN, ORIGIN, RETURN_TOPIC, ROUND, header_int, header_text
from streams.records import Address, Delivery, Headers, Raw, Record
from streams.topics import (
    ADMITTED,
    ANSWERED,
    DEAD_LETTERS,
    JOBS,
    RETRIES_10S,
    ROUTED,
    VALIDATED,
    FlowTopic,
)

T = TypeVar("T", bound=Model)


RETURNS = frozenset(topic.name for topic in (JOBS, ADMITTED, ROUTED, ANSWERED, VALIDATED))
"""Where a waiting record may go back to."""


def flow_record(topic: FlowTopic[T], envelope: Envelope[T], at: datetime) -> Record:
    """The record of an envelope on a topic of the main path."""
    head = envelope.head
    headers = cloud_event(
        topic.name,
        event_id=f"{head.tenant}/{head.job_id}/{topic.name}/{head.rung}/{head.round}",
        source=f"penstock/{head.workflow}",
        time=at,
        content_type=topic.content_type,
        trace=head.trace,
    )
    return Record(topic.name, topic.key(head).encode(), topic.encode(envelope), headers)


def waiting_record(returns_to: str, back: Raw, delivery: Delivery, due: datetime, rounds_waited: int) -> Record:
    """A record that waits in retries.10s until it is due, and then goes back as `back` to the topic named."""
    first_seen = header_int(back.headers, FIRST_SEEN, delivery.timestamp_ms)
    origin = delivery.address
    known_origin = [(name, value) for name, value in back.headers if name == ORIGIN]
    ours = {RETURN_TOPIC, DUE, ROUND, FIRST_SEEN, ORIGIN}
    headers: Headers = (
        *((name, value) for name, value in back.headers if name not in ours),
        (RETURN_TOPIC, returns_to.encode()),
        (DUE, b"%d" % int(due.timestamp() * 1000)),
        (ROUND, b"%d" % (rounds_waited + 1)),
        (FIRST_SEEN, b"%d" % first_seen),
        *(known_origin[:1] or [(ORIGIN, str(origin).encode())]),
    )
    return Record(RETRIES_10S.name, back.key, back.value, headers)


def returning_record(delivery: Delivery) -> Record | None:
    """The record that a waiting one becomes when it is due; None if it names no topic that stages read."""
    topic = header_text(delivery.raw.headers, RETURN_TOPIC)
    if topic not in RETURNS:
        return None
    headers = tuple(pair for pair in delivery.raw.headers if pair[0] not in {RETURN_TOPIC, DUE})
    return Record(topic, delivery.raw.key, delivery.raw.value, headers)


def unstorable_record(address: Address, raw: Raw, group: str, reason: str) -> Record:
    """The dead letter of a trace record that the warehouse refuses."""
    why = DeadLetter(
        topic=address.topic,
        partition=address.partition,
        offset=address.offset,
        group=group,
        delivery_count=1,
        message=reason[:2000],
        stage="sink",
        error_class="RowsRefused",
        retryable=False,
        attempts=0,
    )
    return Record(DEAD_LETTERS.name, raw.key, raw.value, (*raw.headers, *why.headers()))

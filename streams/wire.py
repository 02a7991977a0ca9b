"""Envelopes to records: key, bytes and headers of what a stage writes."""

from datetime import datetime
from typing import TypeVar

from schemas.base import Record as Model
from schemas.envelope import Envelope
from schemas.headers import cloud_event
from streams.records import Delivery, Headers, Raw, Record
from streams.topics import RETRIES_10S, FlowTopic

T = TypeVar("T", bound=Model)

RETURN_TOPIC = "penstock-return-topic"
DUE = "penstock-due"
ROUND = "penstock-round"
FIRST_SEEN = "penstock-first-seen"
ORIGIN = "penstock-origin"
PRODUCERS_KEY = "penstock-key"


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
    """The record that a waiting one becomes when it is due; None if it does not say where it belongs."""
    topic = next((value for name, value in delivery.raw.headers if name == RETURN_TOPIC), None)
    if topic is None:
        return None
    headers = tuple(pair for pair in delivery.raw.headers if pair[0] not in {RETURN_TOPIC, DUE})
    return Record(topic.decode(), delivery.raw.key, delivery.raw.value, headers)


def header_int(headers: Headers, name: str, default: int) -> int:
    """A header's number, or the default where it is absent or none."""
    for key, value in headers:
        if key == name and value is not None and value.isdigit() and len(value) < 20:
            return int(value)
    return default

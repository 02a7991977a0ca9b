"""Envelopes to records: key, bytes and headers of what a stage writes."""

from datetime import datetime, timedelta
from typing import TypeVar

from schemas.base import Record as Model
from schemas.envelope import Envelope
from schemas.headers import cloud_event
from schemas.side import DeadLetter
from streams.header_names import DUE, FIRST_SEEN, ORIGIN, RETURN_TOPIC, ROUND, header_int, header_text
from streams.records import Address, Delivery, Headers, Raw, Record
from streams.stage import Moment
from streams.tiers import Tier, tier_for
from streams.topics import DEAD_LETTERS, FLOW, PRODUCERS, VERDICTS, FlowTopic

T = TypeVar("T", bound=Model)

RETURNS = frozenset((*PRODUCERS, *FLOW, VERDICTS.name))
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


def waiting_record(returns_to: str, back: Raw, delivery: Delivery, after_s: float, moment: Moment) -> Record:
    """A record that waits so many seconds, in the tier that fits, and then goes back as `back` to the topic named."""
    first_seen = header_int(back.headers, FIRST_SEEN, delivery.timestamp_ms)
    due = moment.finished_at + timedelta(seconds=after_s)
    known_origin = [(name, value) for name, value in back.headers if name == ORIGIN]
    ours = {RETURN_TOPIC, DUE, ROUND, FIRST_SEEN, ORIGIN}
    headers: Headers = (
        *((name, value) for name, value in back.headers if name not in ours),
        (RETURN_TOPIC, returns_to.encode()),
        (DUE, b"%d" % int(due.timestamp() * 1000)),
        (ROUND, b"%d" % (moment.rounds_waited + 1)),
        (FIRST_SEEN, b"%d" % first_seen),
        *(known_origin[:1] or [(ORIGIN, str(delivery.address).encode())]),
    )
    return Record(tier_for(after_s).topic.name, back.key, back.value, headers)


def waiting_on(delivery: Delivery, tier: Tier) -> Record:
    """The same waiting record in another tier, or anew in its own; nothing of it changes, so it counts as no try."""
    return Record(tier.topic.name, delivery.raw.key, delivery.raw.value, delivery.raw.headers)


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

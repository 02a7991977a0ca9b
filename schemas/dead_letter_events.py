"""Trace events about dead letters: what was given up on, and what people did about it."""

from datetime import datetime
from typing import ClassVar

from schemas.base import Record


class DeadLetterEvent(Record):
    """A record that was given up on: where it lay, why, and whose job it was, if that is known."""

    TABLE: ClassVar[str] = "dead_letters"

    time: datetime
    event_id: str
    stage: str
    tenant: str
    job_id: str
    error_class: str
    message: str
    messaging_destination_name: str
    messaging_kafka_partition: int
    messaging_kafka_offset: int


class DeadLetterActionEvent(Record):
    """What a person did about a dead letter; the same record is the audit on the topic `dead-letter-actions`.

    `letter` is the dead letter's own address, and the topic's key; `n` counts what was done about it. A redriven job
    has a new id, `new_job_id`; what was put back as it was has none. `destination` is the topic that it went to.
    """

    TABLE: ClassVar[str] = "dead_letter_actions"

    time: datetime
    event_id: str
    letter: str
    n: int
    action: str
    who: str
    why: str
    tenant: str
    job_id: str
    new_job_id: str | None
    destination: str | None
    stage: str
    error_class: str

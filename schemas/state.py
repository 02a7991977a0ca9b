"""What ordered stages remember from record to record: the values on their changelogs."""

from schemas.base import Record


class Seen(Record):
    """What routing knows under a key: how far a job has come, or which job used an idempotency key first.

    A job's entry: `rung` and `round` are the last that went on, `closed` that it has its terminal record. An entry of
    an idempotency key names the first job. `changed_ms` is milliseconds since the epoch, by the state's own clock.
    """

    rung: int = 0
    round: int = 0
    closed: bool = False
    first_job: str | None = None
    changed_ms: int


class Case(Record):
    """What the reviews stage knows of a job: the record that waits, until it is decided; then only that it was.

    `held` is the record of `held`, as it was; times are milliseconds since the epoch, by the state's own clock.
    """

    held: bytes | None = None
    expires_ms: int = 0
    changed_ms: int


class StateMark(Record):
    """The last word on a changelog partition: what the state holds after all changes before it.

    `digest` is the XOR of a 56-bit hash of every entry; `partitions` is how many the topic had, since keys are spread
    over them; `clock_ms` is the state's time, which never goes back.
    """

    partitions: int
    entries: int
    digest: int
    clock_ms: int

"""What can go wrong for someone who publishes jobs and reads results, as one tree. Each text says what to do.

PenstockError
├── InvalidJob        the job can't be sent as it is
├── NotAcknowledged   the broker refused the record, or did not answer in time
├── NoResult          no result in time; the job goes on
├── StaleContext      the snapshot that an answer rests on is no longer valid
├── ResultsLost       an iterator over results fell too far behind
└── ClientClosed      the client was closed, or not opened

The broker's absence is `streams.errors.BrokerAway`, which `penstock.client` exports as well.
"""


class PenstockError(Exception):
    """Base of the client's errors."""


class InvalidJob(PenstockError, ValueError):  # noqa: N818 -- names what is the case
    """The job can't be sent: a field is unknown or wrong, or its input is no JSON value."""


class NotAcknowledged(PenstockError):  # noqa: N818 -- as above
    """The broker said no, or nothing: then it is unknown whether it has the record. Repeat it under the same job_id."""


class NoResult(PenstockError, TimeoutError):  # noqa: N818 -- as above
    """The job has not ended in the time that the caller gave it; it may still end."""


class StaleContext(PenstockError):  # noqa: N818 -- as above
    """The context snapshot of an answer is no longer valid."""


class ResultsLost(PenstockError):  # noqa: N818 -- as above
    """Results arrived faster than they were iterated over, and the oldest are no longer remembered."""


class ClientClosed(PenstockError):  # noqa: N818 -- as above
    """The client is not open."""

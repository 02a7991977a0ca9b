"""The Python client: publish jobs, wait for results, or read results as they come.

    async with Client() as client:
        result = await client.submit("banking_intent", {"text": "my card is lost"}, wait=True)

`Client` is for asyncio, `SyncClient` for everything else. Other languages need nothing of this: a job is one JSON
record on `jobs`, a result one JSON record on `results` (docs/publish.md).
"""

from penstock.client.aio import Client
from penstock.client.job import JobFields, make_snapshot
from penstock.client.link import Options, Receipt
from penstock.client.result import ESCALATED, JobResult
from penstock.client.sync import SyncClient
from penstock.errors import (
    ClientClosed,
    InvalidJob,
    NoResult,
    NotAcknowledged,
    PenstockError,
    ResultsLost,
    StaleContext,
)
from schemas.side import Delta
from streams.errors import BrokerAway

__all__ = [
    "ESCALATED",
    "BrokerAway",
    "Client",
    "ClientClosed",
    "Delta",
    "InvalidJob",
    "JobFields",
    "JobResult",
    "NoResult",
    "NotAcknowledged",
    "Options",
    "PenstockError",
    "Receipt",
    "ResultsLost",
    "StaleContext",
    "SyncClient",
    "make_snapshot",
]

"""The job: what a producer asks for. `workflow` and `input` are all that must be there."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from schemas.base import JsonText, Money, Record, Time, json_text, sha256_hex

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x20\x7f]+$")]
"""An identifier: 1 to 200 characters, no blanks and no control characters."""

Tenant = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x20\x7f/]+$")]
"""A tenant's name: an identifier without a slash, because ids are written tenant/job_id."""

WorkflowName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class Risk(StrEnum):
    """What a wrong answer costs; the first member is what an unknown symbol reads as."""

    NORMAL = "normal"
    LOW = "low"
    HIGH = "high"


class Priority(StrEnum):
    """Which of the waiting jobs is taken first."""

    NORMAL = "normal"
    HIGH = "high"
    LOW = "low"


class Audience(StrEnum):
    """Who waits for the answer: a system by default; a user has a deadline of 30 s."""

    SYSTEM = "system"
    USER = "user"


class TaskType(StrEnum):
    """The kind of work, from which the default policy chooses a tier."""

    OTHER = "other"
    CLASSIFY = "classify"
    EXTRACT = "extract"
    REWRITE = "rewrite"
    SUMMARIZE = "summarize"
    QA = "qa"
    ROUTE = "route"


class DataClass(StrEnum):
    """What a job's data is: personal data goes to self-hosted models only. An unknown symbol reads as personal."""

    PERSONAL = "personal"
    GENERAL = "general"


class Chunk(Record):
    """A piece of retrieved context: its text or where it lies, and how old it is."""

    id: Name
    text: str | None = None
    uri: str | None = None
    source: str = ""
    source_updated_at: Time | None = None
    indexed_at: Time | None = None
    index_version: str = ""
    score: float | None = None


class Snapshot(Record):
    """The context contract: what the answer may rest on, until when, and the hash that proves it unchanged."""

    id: Name
    version: str
    taken_at: Time
    valid_until: Time | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    chunks: tuple[Chunk, ...] = ()

    def content_sha256(self) -> str:
        """The hash that `sha256` must equal: of the canonical JSON of the chunks' ids, texts, URIs and sources.

        Times and scores are left out, because languages print them differently.
        """
        return sha256_hex(json_text([[chunk.id, chunk.text, chunk.uri, chunk.source] for chunk in self.chunks]))


class Job(Record):
    """One request, as the producer gave it; `input` and `messages` are JSON text."""

    workflow: WorkflowName
    input: JsonText
    job_id: Name | None = None
    idempotency_key: Name | None = None
    messages: JsonText | None = None
    context: Snapshot | None = None
    tenant: Tenant | None = None
    user: Name | None = None
    session: Name | None = None
    segments: dict[str, str] = {}
    priority: Priority = Priority.NORMAL
    risk: Risk | None = None
    task_type: TaskType | None = None
    data_class: DataClass | None = None
    deadline_ms: Annotated[int, Field(gt=0, le=30 * 86_400_000)] | None = None
    max_latency_ms: Annotated[int, Field(gt=0, le=30 * 86_400_000)] | None = None
    max_cost_usd: Annotated[Money, Field(ge=0)] | None = None
    audience: Audience = Audience.SYSTEM
    stream: bool = False
    reply_topic: Name | None = None
    metadata: dict[str, str] = {}

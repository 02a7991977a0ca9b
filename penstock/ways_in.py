"""The ways in for jobs, in penstock.toml: who may send what, and topics of others whose records become jobs."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

WAYS_IN: Final = ("jobs.high", "jobs", "jobs.low")
"""What producers write."""

Pointer = Annotated[str, Field(pattern=r"^(/.*)?$")]


class Permit(BaseModel):
    """Whose jobs, and for which workflows, may come in on a topic; a list that is absent permits all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tenants: tuple[str, ...] | None = None
    workflows: tuple[str, ...] | None = None


class SourceOfJobs(BaseModel):
    """Where in the records of a topic the parts of a job lie, as JSON Pointers; "" is the whole record."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    workflow: str
    input: Pointer = ""
    job_id: Pointer | None = None
    tenant: Pointer | None = None
    tenant_is: str = "default"
    segments: dict[str, Pointer] = {}


def require_known(permits: Mapping[str, Any]) -> None:
    """Accept the topics that producers write.

    Raises:
        ValueError: one is none of them.
    """
    for name in permits:
        if name not in WAYS_IN:
            raise ValueError(f"{name!r} is no topic that jobs come in on; these are {', '.join(WAYS_IN)}")


def require_others(sources: Mapping[str, Any]) -> None:
    """Accept topics of others.

    Raises:
        ValueError: one is ours.
    """
    for name in sources:
        if name in WAYS_IN:
            raise ValueError(f"{name!r} takes jobs as they are; a source is a topic of somebody else's")

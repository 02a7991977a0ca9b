"""Intake: is this a job that can be run? Permission, workflow, input, conversation, context."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import jiter
import orjson

from processors.catalog import Catalog
from processors.control import ControlState, ReadControl
from processors.languages import language_of
from processors.outcome import Outcome, Pass, Reject, Retry
from processors.policy.ladder import stopped
from processors.policy.request import LANGUAGE
from processors.workflow import Workflow
from schemas.base import JsonText
from schemas.envelope import Envelope, Head
from schemas.job import Audience, Job, Risk
from schemas.stages import Admitted, Status, Submission

STOPPED_S = 10.0
"""Seconds after which a job that an operator has stopped is looked at again."""

_BUCKETS = ((200, "short"), (1_000, "medium"), (4_000, "long"))
_RISKS = (Risk.LOW, Risk.NORMAL, Risk.HIGH)
_SPEAKERS = ("user", "assistant")


@dataclass(frozen=True, slots=True)
class Permitted:
    """Who may send what: nothing named means every tenant and every workflow, but no reply elsewhere."""

    tenants: frozenset[str] | None = None
    workflows: frozenset[str] | None = None
    replies: frozenset[str] = frozenset()


EVERYTHING: Final = Permitted()


@dataclass(frozen=True, slots=True)
class Intake:
    """The first stage's processor."""

    catalog: Catalog
    control: ReadControl
    clock: Callable[[], datetime]
    permitted: Mapping[str, Permitted] = field(default_factory=dict)
    """By the name of where the jobs come in; what is not named may be sent by everyone."""

    async def __call__(self, envelope: Envelope[Submission]) -> Outcome[Admitted]:
        """Admit the job with the version it will run under, or say why not."""
        head, submission = envelope.head, envelope.payload
        control = self.control()
        job = submission.job
        refused = submission.problem or (self._not_permitted(head, job) if job else None)
        if refused or job is None:
            return Reject(Status.REJECTED, refused or "the record holds no job")
        if why := stopped(head, control):
            return Retry(why, after_s=STOPPED_S)
        workflow = self._workflow(head, control)
        if not isinstance(workflow, Workflow):
            return workflow
        return self._misfit(job, workflow) or Pass(
            Admitted.made(job=job, decided=None), head=_settled(job, workflow, control)
        )

    def _workflow(self, head: Head, control: ControlState) -> Workflow | Retry | Reject:
        version = control.active.get(head.workflow)
        if not version:
            return Reject(Status.REJECTED, self._unknown(head.workflow, control.active.keys()))
        return self.catalog.find(head.but(workflow_version=version))

    def _misfit(self, job: Job, workflow: Workflow) -> Reject | None:
        # Whether its context is stale is for routing, which follows at once and knows the workflow it settled on.
        problem = _input_problem(job.input, workflow) or _conversation_problem(job) or _snapshot_problem(job)
        return Reject(Status.REJECTED, problem) if problem else None

    def _not_permitted(self, head: Head, job: Job) -> str | None:
        permitted = self.permitted.get(head.origin.topic, EVERYTHING)
        if permitted.tenants is not None and head.tenant not in permitted.tenants:
            return f"not_permitted: tenant {head.tenant!r} may not send jobs here"
        if permitted.workflows is not None and head.workflow not in permitted.workflows:
            return f"not_permitted: workflow {head.workflow!r} may not be asked for here"
        if job.reply_topic is not None and job.reply_topic not in permitted.replies:
            known = ", ".join(sorted(permitted.replies)) or "none"
            return f"not_permitted: no reply may go to {job.reply_topic!r}; permitted: {known}"
        return None

    def _unknown(self, name: str, active: Any) -> str:
        if name in self.catalog.names:
            return f"workflow {name!r} has no active version; activate one before sending jobs"
        near = difflib.get_close_matches(name, sorted({*active, *self.catalog.names}), 3)
        return f"there is no workflow {name!r}" + (f"; near: {', '.join(near)}" if near else "")


def _settled(job: Job, workflow: Workflow, control: ControlState) -> dict[str, object]:
    risk = stricter(job.risk, workflow.settings.risk)
    return {
        "workflow_version": workflow.version,
        "control_version": control.version,
        "risk": risk,
        "shown": _shown(job, risk, workflow.settings.show_unvalidated),
        "priority": job.priority,
        "segments": _segments(job, workflow),
    }


def _segments(job: Job, workflow: Workflow) -> dict[str, str]:
    """The caller's own, the input's size class, and its language where the workflow's owner wants it found out."""
    segments = {**job.segments, "length_bucket": length_bucket(job.input)}
    if workflow.settings.detect_language and LANGUAGE not in segments:
        segments[LANGUAGE] = language_of(job.input)
    return segments


def _shown(job: Job, risk: Risk, allowed: bool | None) -> bool:  # noqa: FBT001 -- a setting with three values
    """Whether the answer may be read while it is being written: somebody waits for it, and the owner allows it."""
    asked = job.stream or job.audience is Audience.USER
    return asked and (risk is not Risk.HIGH if allowed is None else allowed)


def stricter(asked: Risk | None, owned: Risk) -> Risk:
    """The higher of the two risks: a caller may raise what the workflow's owner says, not lower it."""
    return owned if asked is None else max(asked, owned, key=_RISKS.index)


def length_bucket(text: JsonText) -> str:
    """The input's size class, by its characters as JSON: short to 200, medium to 1,000, long to 4,000, very_long."""
    return next((name for limit, name in _BUCKETS if len(text) <= limit), "very_long")


def _input_problem(text: JsonText, workflow: Workflow) -> str | None:
    violations = workflow.input_schema.violations(jiter.from_json(text.encode()))
    return f"input does not fit {workflow.name}@{workflow.version}: {'; '.join(violations)}" if violations else None


def _conversation_problem(job: Job) -> str | None:
    if job.messages is None:
        return None
    turns = orjson.loads(job.messages)
    expected = 'expected a list of {"role": "user" or "assistant", "content": text}'
    if not isinstance(turns, list):
        return f"messages: {expected}, found a {type(turns).__name__}"
    for i, turn in enumerate(turns):
        fits = isinstance(turn, dict) and turn.keys() == {"role", "content"} and isinstance(turn["content"], str)
        if not fits or turn["role"] not in _SPEAKERS:
            return f"messages/{i}: {expected}, found {orjson.dumps(turn).decode()[:80]}"
    return None


def _snapshot_problem(job: Job) -> str | None:
    if job.context is None:
        return None
    found = job.context.content_sha256()
    if found == job.context.sha256:
        return None
    return (
        f"snapshot {job.context.id} is not what its sha256 says: expected {job.context.sha256}, found {found}; "
        "hash the canonical JSON of [[id, text, uri, source], …]"
    )

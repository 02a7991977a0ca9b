"""Routing: which rung of the ladder a job is tried on now."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from processors.catalog import Catalog
from processors.control import ControlState, ReadControl
from processors.freshness import refused, stale
from processors.outcome import Escalate, Facts, FailureClass, Outcome, Pass, Reject, Retry
from processors.policy.failure import settle
from processors.policy.health import SeenMs, nothing_seen
from processors.policy.ladder import data_class, stopped
from processors.policy.recorded import as_json
from processors.policy.request import RouteRequest
from processors.policy.route import NoRung, route
from processors.workflow import Workflow
from schemas.envelope import Envelope, Head
from schemas.job import Job
from schemas.stages import Admitted, Routed, Status

STOPPED_S = 10.0
"""Seconds after which a job that an operator has stopped is looked at again."""


@dataclass(frozen=True, slots=True)
class Routing:
    """The second stage's processor."""

    catalog: Catalog
    control: ReadControl
    clock: Callable[[], datetime]
    seen_ms: SeenMs = nothing_seen

    async def __call__(self, envelope: Envelope[Admitted]) -> Outcome[Routed]:
        """Choose the rung, or end what intake has already decided."""
        head, admitted = envelope.head, envelope.payload
        if admitted.decided is not None:
            return Reject(admitted.decided.status, admitted.decided.reason)
        workflow = self.catalog.find(head)
        if isinstance(workflow, Retry):
            return workflow
        control = self.control()
        if old := stale(admitted.job, self.clock(), control.snapshots):
            return refused(old, workflow)
        if why := stopped(head, control):
            return Retry(why, after_s=STOPPED_S)
        return self._route(head, admitted.job, workflow, control)

    def _route(self, head: Head, job: Job, workflow: Workflow, control: ControlState) -> Outcome[Routed]:
        request = request_of(head, job, workflow, functools.partial(self._seen, workflow))
        choice = route(request, workflow, self.catalog.models, control)
        if isinstance(choice, NoRung):
            if choice.over_budget:
                return Reject(Status.OVER_BUDGET, choice.reason)
            failed = FailureClass.POLICY if choice.undecided else FailureClass.PROVIDER
            return settle(Escalate(f"no rung is permitted: {choice.reason}", failed=failed), workflow)
        settled: dict[str, object] = {"rung": choice.rung, "control_version": control.version}
        facts = Facts(decision=choice.decision, decided_on=as_json(request, control.version))
        return Pass(Routed.made(job=job, decision=choice.decision), facts, settled)

    def _seen(self, workflow: Workflow) -> Mapping[str, float]:
        return self.seen_ms(workflow.name, workflow.version, workflow.settings.ladder, self.clock())


def request_of(
    head: Head, job: Job, workflow: Workflow, seen_ms: Callable[[], Mapping[str, float]] = dict
) -> RouteRequest:
    """What the route rests on, from the job and its workflow's settings.

    `seen_ms` is asked how fast the rungs were lately, where something is decided by it.
    """
    settings = workflow.settings
    max_latency_ms = job.max_latency_ms or settings.slo.latency_ms
    return RouteRequest(
        task=job.task_type or settings.task,
        risk=head.risk,
        size=prompt_bytes(job),
        rung=head.rung,
        max_latency_ms=max_latency_ms,
        max_cost_usd=job.max_cost_usd,
        spent=head.spent,
        tenant=head.tenant,
        segments=head.segments,
        created_at=head.created_at,
        data=data_class(job.data_class, settings),
        gains=() if workflow.prior is None else workflow.prior.gains(job.input),
        seen_ms=seen_ms() if max_latency_ms is not None or workflow.rules else {},
    )


def prompt_bytes(job: Job) -> int:
    """UTF-8 bytes of what the job may add to a prompt."""
    chunks = () if job.context is None else job.context.chunks
    texts = (job.input, job.messages or "", *(chunk.text or "" for chunk in chunks))
    return sum(len(text.encode()) for text in texts)

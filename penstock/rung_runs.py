"""One job at one rung of a workflow's ladder: called, validated, scored, without a gate. Fits are made from these."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from processors.cases import Case
from processors.catalog import Catalog
from processors.control import ControlState
from processors.grading import measure
from processors.inference import Inference
from processors.outcome import Outcome, Pass
from processors.providers.port import Provider
from processors.validation import Validation
from processors.workflow import Workflow
from schemas.base import json_text
from schemas.envelope import Envelope, Head, Origin
from schemas.headers import traceparent
from schemas.job import Job
from schemas.stages import Answer, Attempt, Decision, Routed, Validated

_LONG = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a rung made of a job: its calls, and the answer with what validation said of it, or why there is none."""

    attempts: tuple[Attempt, ...]
    answer: Answer | None
    validated: Outcome[Validated] | None
    why: str


@dataclass(frozen=True, slots=True)
class Ran:
    """One case at one rung. `model` answered; `right`: the answer is valid and what it must be.

    `raw` is its score before calibration; where there is none, `unscored` says why.
    """

    case: Case
    model: str
    right: bool
    raw: float | None
    unscored: str


class RungRunner:
    """Runs jobs and cases at one rung."""

    def __init__(
        self,
        catalog: Catalog,
        providers: Mapping[str, Provider],
        workflow: Workflow,
        rung: int,
        tenant: str = "cases",
    ) -> None:
        self._workflow = workflow
        self._tenant = tenant
        self._rung = rung
        chosen = workflow.settings.ladder[rung]
        provider = catalog.models.models[chosen.model].provider
        self.decision = Decision(variant=chosen.variant, tier=chosen.tier, provider=provider, model=chosen.model)
        self._inference = Inference(
            catalog, providers, ControlState, lambda: datetime.now(UTC), asyncio.sleep, random.SystemRandom().random
        )
        self._validation = Validation(catalog, ControlState)

    async def run(self, case: Case) -> Ran | str:
        """What came of the case, or why there is no answer."""
        job = Job(workflow=self._workflow.name, input=json_text(case.input), context=case.context)
        asked = await self.ask(case.id, job)
        if asked.answer is None:
            return asked.why
        model, validated = asked.answer.completion.model, asked.validated
        if not isinstance(validated, Pass):
            return Ran(case, model, right=False, raw=None, unscored=asked.why)
        score = measure(validated.product, self._workflow)
        right = case.met(validated.product.output)
        return Ran(case, model, right, score.raw, "" if score.raw is not None else str(score.calibrated))

    async def ask(self, job_id: str, job: Job) -> Asked:
        """One job: called and validated."""
        head = self._head(job_id)
        called = await self._inference(Envelope[Routed](head=head, payload=Routed(job=job, decision=self.decision)))
        if not isinstance(called, Pass):
            return Asked(called.facts.attempts, None, None, called.reason)
        validated = await self._validation(Envelope[Answer](head=head, payload=called.product))
        return Asked(called.facts.attempts, called.product, validated, validated.reason)

    def _head(self, job_id: str) -> Head:
        now = datetime.now(UTC)
        return Head(
            tenant=self._tenant,
            job_id=job_id,
            workflow=self._workflow.name,
            workflow_version=self._workflow.version,
            rung=self._rung,
            created_at=now,
            deadline=now + _LONG,
            trace=traceparent((), job_id),
            origin=Origin(topic="", partition=0, offset=0),
        )


async def run_all(
    runner: RungRunner, cases: Sequence[Case], at_once: int, moved: Callable[[], None] = lambda: None
) -> list[Ran | str]:
    """What came of each case, in their order; `moved` is told of every one that is through."""
    slots = asyncio.Semaphore(at_once)

    async def one(case: Case) -> Ran | str:
        async with slots:
            ran = await runner.run(case)
        moved()
        return ran

    return await asyncio.gather(*map(one, cases))

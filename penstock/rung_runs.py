"""One case at one rung of a workflow's ladder: called, validated, scored, without a gate: what fits are made from."""

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
from processors.outcome import Pass
from processors.providers.port import Provider
from processors.validation import Validation
from processors.workflow import Workflow
from schemas.base import json_text
from schemas.envelope import Envelope, Head, Origin
from schemas.job import Job
from schemas.stages import Answer, Decision, Routed

_LONG = timedelta(hours=1)


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
    """Runs cases at one rung."""

    def __init__(self, catalog: Catalog, providers: Mapping[str, Provider], workflow: Workflow, rung: int) -> None:
        self._workflow = workflow
        self._rung = rung
        chosen = workflow.settings.ladder[rung]
        provider = catalog.models.models[chosen.model].provider
        self._decision = Decision(variant=chosen.variant, tier=chosen.tier, provider=provider, model=chosen.model)
        self._inference = Inference(
            catalog, providers, ControlState, lambda: datetime.now(UTC), asyncio.sleep, random.SystemRandom().random
        )
        self._validation = Validation(catalog, ControlState)

    async def run(self, case: Case) -> Ran | str:
        """What came of the case, or why there is no answer."""
        head = self._head(case)
        job = Job(workflow=self._workflow.name, input=json_text(case.input), context=case.context)
        answered = await self._inference(Envelope[Routed](head=head, payload=Routed(job=job, decision=self._decision)))
        if not isinstance(answered, Pass):
            return answered.reason
        return await self._judged(case, Envelope[Answer](head=head, payload=answered.product))

    async def _judged(self, case: Case, answer: Envelope[Answer]) -> Ran:
        model = answer.payload.completion.model
        validated = await self._validation(answer)
        if not isinstance(validated, Pass):
            return Ran(case, model, right=False, raw=None, unscored=validated.reason)
        score = measure(validated.product, self._workflow)
        right = case.met(validated.product.output)
        return Ran(case, model, right, score.raw, "" if score.raw is not None else str(score.calibrated))

    def _head(self, case: Case) -> Head:
        now = datetime.now(UTC)
        return Head(
            tenant="cases",
            job_id=case.id,
            workflow=self._workflow.name,
            workflow_version=self._workflow.version,
            rung=self._rung,
            created_at=now,
            deadline=now + _LONG,
            trace="00-" + "0" * 31 + "1-" + "0" * 15 + "1-00",
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

"""What it costs to ask the largest model every time: measured, by the code with which the pipeline calls models."""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final

import orjson

from penstock import compose
from penstock.cli.demo.feed import WORKFLOW, Asked, Tally
from penstock.settings import Settings
from processors.bundle import read_bundle
from processors.catalog import Catalog
from processors.control import ControlState
from processors.inference import Inference
from processors.models import Models
from processors.outcome import Pass
from processors.providers.http import connect
from processors.providers.port import Provider
from processors.validation import Validation
from processors.workflow import Workflow
from schemas.base import json_text
from schemas.envelope import Envelope, Head, Origin
from schemas.headers import traceparent
from schemas.job import Job
from schemas.stages import Attempt, Decision, Routed
from streams.worker import utc_now

AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True)
class Answered:
    """What the largest model said: a label (None without a valid answer), its cost in US dollars, the time in ms."""

    job_id: str
    label: str | None
    cost_usd: Decimal | None
    ms: float


@dataclass(frozen=True, slots=True)
class Baseline:
    """All of the messages, put to the largest model."""

    model: str
    answers: Mapping[str, Answered]


async def always_largest(settings: Settings, tally: Tally, moved: Callable[[], None]) -> Baseline:
    """Put each message of the demo to the last rung's model, with its prompt, checked as the pipeline checks it."""
    models = compose.models(settings)
    catalog = Catalog(models)
    bundle = read_bundle(settings.project / "workflows" / WORKFLOW)
    catalog.add(bundle)
    workflow = catalog.workflow(bundle.workflow, bundle.version)
    assert workflow is not None
    providers = connect(models)
    caller = _Caller(catalog, workflow, models, providers, moved)
    try:
        answers = await asyncio.gather(*map(caller.ask, tally.asked))
    finally:
        await asyncio.gather(*(provider.aclose() for provider in providers.values()))
    return Baseline(caller.decision.model, {answer.job_id: answer for answer in answers})


class _Caller:
    """Inference and validation of the pipeline, at the ladder's last rung."""

    def __init__(
        self,
        catalog: Catalog,
        workflow: Workflow,
        models: Models,
        providers: Mapping[str, Provider],
        moved: Callable[[], None],
    ) -> None:
        self._rung = len(workflow.settings.ladder) - 1
        last = workflow.settings.ladder[self._rung]
        provider = models.models[last.model].provider
        self.decision = Decision(variant=last.variant, tier=last.tier, provider=provider, model=last.model)
        self._workflow = workflow
        self._moved = moved
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._inference = Inference(catalog, providers, ControlState, utc_now, asyncio.sleep, random.random)
        self._validation = Validation(catalog, ControlState)

    async def ask(self, asked: Asked) -> Answered:
        """Put one message to the model."""
        async with self._slots:
            routed = Routed(job=self._job(asked), decision=self.decision)
            outcome = await self._inference(Envelope[Routed](head=self._head(asked), payload=routed))
        label = None
        if isinstance(outcome, Pass):
            checked = await self._validation(Envelope(head=self._head(asked), payload=outcome.product))
            if isinstance(checked, Pass):
                label = orjson.loads(checked.product.output).get("intent")
        self._moved()
        attempts = outcome.facts.attempts
        return Answered(asked.job_id, label, _cost(attempts), sum(attempt.total_ms for attempt in attempts))

    def _job(self, asked: Asked) -> Job:
        return Job(workflow=self._workflow.name, input=json_text({"text": asked.message.text}))

    def _head(self, asked: Asked) -> Head:
        now = utc_now()
        return Head(
            tenant="demo-baseline",
            job_id=asked.job_id,
            workflow=self._workflow.name,
            workflow_version=self._workflow.version,
            rung=self._rung,
            created_at=now,
            deadline=now + timedelta(minutes=5),
            trace=traceparent((), asked.job_id),
            origin=Origin(topic="", partition=0, offset=0),
        )


def _cost(attempts: tuple[Attempt, ...]) -> Decimal | None:
    """What the attempts cost; unknown when the price of one is."""
    known = [attempt.cost_usd for attempt in attempts if attempt.cost_usd is not None]
    return sum(known, Decimal(0)) if len(known) == len(attempts) else None

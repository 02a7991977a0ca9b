"""What it costs to ask the largest model every time: measured, by the code with which the pipeline calls models."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import orjson

from penstock import compose
from penstock.cli.demo.feed import WORKFLOW, Asked, Tally
from penstock.rung_runs import RungRunner
from penstock.settings import Settings
from processors.bundle import read_bundle
from processors.catalog import Catalog
from processors.outcome import Pass
from processors.providers.http import connect
from schemas.base import json_text
from schemas.job import Job
from schemas.stages import Attempt

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
    runner = RungRunner(catalog, providers, workflow, len(workflow.settings.ladder) - 1, tenant="demo-baseline")
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(asked: Asked) -> Answered:
        async with slots:
            answered = await _ask(runner, asked)
        moved()
        return answered

    try:
        answers = await asyncio.gather(*map(one, tally.asked))
    finally:
        await asyncio.gather(*(provider.aclose() for provider in providers.values()))
    return Baseline(runner.decision.model, {answer.job_id: answer for answer in answers})


async def _ask(runner: RungRunner, asked: Asked) -> Answered:
    """Put one message to the model."""
    job = Job(workflow=WORKFLOW, input=json_text({"text": asked.message.text}))
    found = await runner.ask(asked.job_id, job)
    label = None
    if isinstance(found.validated, Pass):
        label = orjson.loads(found.validated.product.output).get("intent")
    return Answered(asked.job_id, label, _cost(found.attempts), sum(attempt.total_ms for attempt in found.attempts))


def _cost(attempts: tuple[Attempt, ...]) -> Decimal | None:
    """What the attempts cost; unknown when the price of one is."""
    known = [attempt.cost_usd for attempt in attempts if attempt.cost_usd is not None]
    return sum(known, Decimal(0)) if len(known) == len(attempts) else None

"""Calls through inference: slot, breaker, key, request, stream or body, parse, price, record and its trace rows."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import uvloop

from calling.contestant import TEXT, Told, report, told
from penstock.memory import settle
from processors.bundle import read_bundle
from processors.catalog import Catalog
from processors.control import ControlState
from processors.inference import Inference
from processors.models import Dialect, load_models
from processors.outcome import Pass
from processors.providers.asking import ASKING
from processors.providers.http import connect
from processors.providers.port import CompletionRequest, Structure
from schemas.base import json_text
from schemas.envelope import Envelope, Head, Origin
from schemas.job import Job
from schemas.stages import Decision, Routed, Tier
from schemas.trace import Event
from streams.batch import trace_records
from streams.records import Address
from streams.stage import Moment
from streams.trace_rows import of_outcome

ROOT: Final = Path(__file__).parents[2]
ROWS: Final = 64


def ask(text: str) -> bytes:
    """The request that inference would send for this message, not as a stream: what the others are to send too."""
    models = load_models(ROOT / "models.toml", environ={})
    catalog = Catalog(models)
    bundle = read_bundle(ROOT / "workflows" / "banking_intent")
    catalog.add(bundle)
    workflow = catalog.workflow(bundle.workflow, bundle.version)
    assert workflow is not None
    rung = workflow.settings.ladder[0]
    prompt = workflow.prompt(rung).render(Job(workflow="banking_intent", input=json_text({"text": text})))
    request = CompletionRequest(
        attempt_id="",
        model=models.models[rung.model],
        messages=prompt.messages,
        max_tokens=rung.params.max_tokens or 48,
        total_timeout_s=10,
        left_s=10,
        temperature=rung.params.temperature,
        logprobs=True,
        output_schema=workflow.output_fragment,
        structure=Structure.NATIVE,
    )
    return ASKING[Dialect.OPENAI_CHAT].encode(request)


async def main(given: Told) -> None:
    """Call."""
    models = load_models(ROOT / "models.toml", overrides={"local": given.url}, environ={})
    catalog = Catalog(models)
    bundle = read_bundle(ROOT / "workflows" / "banking_intent")
    catalog.add(bundle)
    version = bundle.version
    providers = connect(models, {})
    inference = Inference(
        catalog, providers, ControlState, lambda: datetime.now(UTC), asyncio.sleep, random.Random(1).random
    )
    job = Job(workflow="banking_intent", input=json_text({"text": TEXT}))
    decision = Decision(variant="small", tier=Tier.A, provider="local", model="local-small")
    routed = Routed(job=job, decision=decision)

    head, rows = _head(version), list[Event]()

    async def one(number: int) -> None:
        now = datetime.now(UTC)
        envelope = Envelope[Routed].made(head=head.but(job_id=f"job-{number}", created_at=now), payload=routed)
        outcome = await inference(envelope)
        assert isinstance(outcome, Pass), outcome
        moment = Moment(now, 0.0, 0.0, "w", 0, 0)
        rows.extend(of_outcome("inference", Address("routed", 0, number), envelope.head, envelope, outcome, moment))
        if len(rows) >= ROWS:  # as a transaction writes them
            trace_records(rows)
            rows.clear()

    settle()  # as a worker does before its first job
    await report(given, one)
    trace_records(rows)
    await asyncio.gather(*(provider.aclose() for provider in providers.values()))


def _head(version: str) -> Head:
    now = datetime.now(UTC)
    return Head(
        tenant="t",
        job_id="job",
        workflow="banking_intent",
        workflow_version=version,
        created_at=now,
        deadline=now + timedelta(minutes=30),
        trace="00-" + "0" * 31 + "1-" + "0" * 15 + "1-00",
        origin=Origin(topic="", partition=0, offset=0),
    )


if __name__ == "__main__":
    uvloop.run(main(told()))

import asyncio
import json
import random
import time
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from penstock.local.banking77 import split
from processors.bundle import read_bundle
from processors.catalog import Catalog
from processors.control import ControlState
from processors.grading import Grading
from processors.inference import Inference
from processors.intake import Intake
from processors.models import load_models
from processors.outcome import Climb, Escalate, Pass, Retry
from processors.providers.http import connect
from processors.routing import Routing
from processors.validation import Validation
from schemas.base import json_text, sha256_hex
from schemas.envelope import Envelope, Head, Origin
from schemas.job import Job
from schemas.stages import Submission

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[3]

FASTER = 50
"""How much faster time passes for what waits: jobs between their rounds, and breakers."""


def utc_now():
    """The time."""
    return datetime.now(UTC)


class Stages:
    """All five processors over the shipped workflow; a job walks through them in memory as it does over the topics."""

    def __init__(self, base_url):
        models = load_models(ROOT / "models.toml", overrides={"local": base_url + "/v1"}, environ={})
        bundle = read_bundle(ROOT / "workflows" / "banking_intent")
        catalog = Catalog(models)
        catalog.add(bundle)
        state = ControlState(0, {bundle.workflow: bundle.version})
        self.workflow = bundle.workflow
        self.tenant = f"walk-{uuid.uuid4().hex[:8]}"
        self.providers = connect(models, {}, timer=lambda: time.monotonic() * FASTER)
        self.attempts = []
        self.intake = Intake(catalog, lambda: state, utc_now)
        self.routing = Routing(catalog, lambda: state, utc_now)
        self.rest = (
            Inference(catalog, self.providers, lambda: state, utc_now, asyncio.sleep, random.random),
            Validation(catalog, lambda: state),
            Grading(catalog, lambda: state, utc_now),
        )

    async def walk(self, text):
        """The last outcome of one message, and the rung it came to."""
        now = utc_now()
        head = Head(
            tenant=self.tenant,
            job_id=sha256_hex(text)[:12],
            workflow=self.workflow,
            created_at=now,
            deadline=now + timedelta(minutes=5),
            trace="00-" + "0" * 31 + "1-" + "0" * 15 + "1-00",
            origin=Origin(topic="", partition=0, offset=0),
        )
        job = Job(workflow=self.workflow, input=json_text({"text": text}))
        outcome = await self.intake(Envelope(head=head, payload=Submission(job=job, size=len(text))))
        here = Envelope(head=head, payload=outcome.product).headed(**outcome.head)
        while True:
            outcome, rung = await self._one_rung(here)
            match outcome:
                case Climb():
                    here = here.headed(rung=rung + 1, round=0)
                case Retry(after_s=after_s):
                    await asyncio.sleep(after_s / FASTER)
                    here = here.headed(rung=rung, round=here.head.round + 1)
                case _:
                    return outcome, rung

    async def _one_rung(self, envelope):
        outcome = await self.routing(envelope)
        if not isinstance(outcome, Pass):
            return outcome, envelope.head.rung
        envelope = envelope.headed(**outcome.head)
        at = envelope.head.rung
        for stage in self.rest:
            envelope = envelope.carrying(outcome.product)
            outcome = await stage(envelope)
            self.attempts += outcome.facts.attempts
            if not isinstance(outcome, Pass):
                break
        return outcome, at


@pytest.fixture
async def stages(stack):
    """The processors over the stack's model server."""
    made = Stages(stack.model_server_url)
    yield made
    for provider in made.providers.values():
        await provider.aclose()


@pytest.fixture
async def faults(stack):
    """Give a function that sets the model server's faults; they end with the test."""
    async with aiohttp.ClientSession() as session:

        async def put(*wanted):
            async with session.post(stack.model_server_url + "/admin/faults", json=list(wanted)) as response:
                assert response.status == 200, await response.text()

        yield put
        await put()


async def _walk_all(stages, messages):
    slots = asyncio.Semaphore(32)

    async def one(message):
        async with slots:
            return message, *await stages.walk(message.text)

    return await asyncio.gather(*map(one, messages))


async def test_the_shipped_workflow_keeps_what_it_promises(stages):
    """On messages nobody has learned from: more than half accepted, nearly all of them right, every rung of use."""
    walked = await _walk_all(stages, split("unseen")[:600])
    accepted = [(message, outcome, rung) for message, outcome, rung in walked if isinstance(outcome, Pass)]
    assert len(accepted) + sum(isinstance(outcome, Escalate) for _, outcome, _ in walked) == len(walked)
    right = sum(outcome.product.output == json_text({"intent": message.label}) for message, outcome, _ in accepted)
    assert len(accepted) / len(walked) > 0.7
    assert right / len(accepted) > 0.9
    assert set(Counter(rung for _, _, rung in accepted)) == {0, 1, 2}
    assert all(attempt.cost_usd > 0 for attempt in stages.attempts)


async def test_every_call_is_on_record_though_many_fail(stages, faults, stack):
    """Under failing, cut and malformed answers each job still ends well, and attempts and calls are the same ids."""
    await faults("500:0.04", "429:0.1:0", "malformed:0.03", "disconnect:0.03")
    walked = await _walk_all(stages, split("unseen")[600:700])
    assert all(isinstance(outcome, (Pass, Escalate)) for _, outcome, _ in walked)
    recorded = [attempt.attempt_id for attempt in stages.attempts]
    assert len(recorded) == len(set(recorded)) > len(walked)
    log = (stack.settings(ROOT).data_dir / "model_server" / "calls.jsonl").read_text().splitlines()
    called = [line["attempt"] for line in map(json.loads, log) if line["event"] == "began"]
    assert sorted(recorded) == sorted(attempt for attempt in called if (attempt or "").startswith(stages.tenant + "/"))
    failed = Counter(attempt.error_class for attempt in stages.attempts)
    assert {"retryable_here", "wait_until"} <= set(failed)

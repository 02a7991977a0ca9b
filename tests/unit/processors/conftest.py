import asyncio
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from processors.catalog import Catalog
from processors.control import ControlState
from processors.evaluators.calibration import Calibration, Evidence, Map
from processors.inference import Inference
from processors.models import read_models
from processors.providers.scripted import ScriptedProvider
from schemas.base import json_text
from schemas.control import Bundle
from schemas.envelope import Envelope, Head, Origin
from schemas.job import Job
from schemas.stages import Completion, Decision, Routed

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

MODELS = """
[providers.one]
base_url = "http://127.0.0.1:1/v1"
total_timeout_s = 20

[providers.two]
base_url = "http://127.0.0.1:2/v1"

[models.tiny]
provider = "one"
id = "tiny-1"
tier = "A"
prices = { input_usd = 1, cached_usd = 0.5, output_usd = 2 }
max_output_tokens = 100
capabilities = ["json_schema", "logprobs"]

[models.middle]
provider = "one"
id = "middle-1"
tier = "B"
prices = { input_usd = 10, output_usd = 20 }
max_output_tokens = 100
capabilities = ["logprobs"]

[models.grand]
provider = "two"
id = "grand-1"
tier = "C"
prices = { input_usd = 100, output_usd = 200 }
max_output_tokens = 100

[models.priceless]
provider = "two"
id = "priceless-1"
tier = "C"
"""

WORKFLOW = """
task = "classify"
owner = "someone"

[[ladder]]
variant = "small"
tier = "A"
model = "tiny"

[[ladder]]
variant = "mid"
tier = "B"
model = "middle"
prompt = "small"

[[ladder]]
variant = "large"
tier = "C"
model = "grand"
prompt = "small"
"""

INPUT = """{"type": "object", "properties": {"text": {"type": "string", "minLength": 1}, "n": {"type": "integer"}},
 "required": ["text"], "additionalProperties": false}"""
OUTPUT = """{"type": "object", "properties": {"intent": {"enum": ["a", "b"]}},
 "required": ["intent"], "additionalProperties": false}"""

FILES = {
    "workflow.toml": WORKFLOW,
    "prompts/small/system.md": "Sort it. Schema: {{ output_schema }}",
    "prompts/small/user.md": "Text: {{ input.text }}",
    "input.schema.json": INPUT,
    "output.schema.json": OUTPUT,
}


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now

    def move(self, seconds):
        """Move on by so many seconds."""
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    """A clock that the test moves."""
    return Clock()


@pytest.fixture
def models():
    """Two providers and four models, one of them without prices."""
    return read_models("models.toml", MODELS, {}, {})


@pytest.fixture
def files():
    """The files of a workflow with three rungs."""
    return dict(FILES)


@pytest.fixture
def folder(tmp_path):
    """Give a function that writes a workflow's folder from its files and returns the path."""

    def write(files, name="sorting") -> Path:
        for path, text in files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(text)
        return tmp_path / name

    return write


@pytest.fixture
def desk(models, files, clock):
    """One workflow made active, with all that its processors need; `with_files` makes another version active."""
    catalog = Catalog(models)
    place = SimpleNamespace(catalog=catalog, models=models, clock=clock, control=ControlState(version=7))
    place.settings_text = files["workflow.toml"]

    def with_files(**changes):
        kept = {path: text for path, text in (files | changes).items() if text is not None}
        bundle = Bundle(workflow="sorting", files=kept)
        catalog.add(bundle)
        place.version = bundle.version
        place.control = replace(place.control, active={"sorting": bundle.version})
        return catalog.workflow("sorting", bundle.version)

    place.with_files = with_files
    place.workflow = with_files()
    place.read_control = lambda: place.control
    return place


@pytest.fixture
def a_job():
    """Give a function that makes a job from an input."""
    return lambda value=None, **changes: Job(
        workflow="sorting", input=json_text({"text": "hello"} if value is None else value), **changes
    )


@pytest.fixture
def enveloped(desk):
    """Give a function that puts a payload under a head of the active version."""

    def make(payload, **changes):
        fields = {
            "tenant": "acme",
            "job_id": "job-1",
            "workflow": "sorting",
            "workflow_version": desk.version,
            "created_at": NOW,
            "deadline": NOW + timedelta(hours=1),
            "trace": "00-" + "0" * 31 + "1-" + "0" * 15 + "1-00",
            "origin": Origin(topic="jobs", partition=0, offset=0),
        }
        return Envelope(head=Head(**(fields | changes)), payload=payload)

    return make


@pytest.fixture
def routed(enveloped, a_job):
    """Give a function that makes a routed envelope at a rung of the ladder."""
    rungs = (("small", "A", "one", "tiny"), ("mid", "B", "one", "middle"), ("large", "C", "two", "grand"))

    def make(rung=0, job=None, **changes):
        variant, tier, provider, model = rungs[rung]
        decision = Decision(variant=variant, tier=tier, provider=provider, model=model)
        return enveloped(Routed(job=job or a_job(), decision=decision), rung=rung, **changes)

    return make


@pytest.fixture
def completion():
    """Give a function that makes a completion from tokens with their logarithms of probability."""

    def make(*tokens, model="tiny-1", **changes):
        fields = {
            "attempt_id": "acme/job-1/0/0/1",
            "model": model,
            "text": "".join(text for text, _ in tokens),
            "finish_reason": "stop",
            "prompt_sha256": "0" * 64,
            "tokens": tuple(text for text, _ in tokens),
            "logprobs": tuple(logprob for _, logprob in tokens),
            "answered_at": NOW,
        }
        return Completion(**(fields | changes))

    return make


@pytest.fixture
def inference(desk, clock):
    """Give a function that makes an inference over scripts; waits move the clock and are kept in `waits`."""

    def make(*answers, chance=1.0, tools=None):
        queue = list(answers)
        waits = []

        async def sleep(seconds):
            waits.append(seconds)
            clock.move(seconds)
            await asyncio.sleep(0)

        def script(request):
            canned = queue.pop(0) if len(queue) > 1 else queue[0]
            return canned(request) if callable(canned) else canned

        provider = ScriptedProvider(script)
        processor = Inference(
            desk.catalog,
            {"one": provider, "two": provider},
            lambda: desk.control,
            clock,
            sleep,
            lambda: chance,
            tools=tools,
        )
        return SimpleNamespace(run=processor, provider=provider, waits=waits)

    return make


@pytest.fixture
def calibration_for():
    """Give a function that writes a calibration file with one map for a variant of a workflow."""

    def make(workflow, variant="small", model="tiny-1"):
        evidence = Evidence(
            n=40,
            correct=30,
            source="made up",
            fitted_on=date(2026, 1, 1),
            held_out_ece=0.01,
            accept_at=0.85,
            accepted=20,
            accepted_correct=19,
            lower_bound=0.78,
        )
        fitted = Map(
            variant=variant,
            model=model,
            variant_sha256=workflow.variant_hashes[variant],
            method="platt",
            slope=1.0,
            intercept=0.0,
            evidence=evidence,
        )
        return json.dumps(Calibration(maps=(fitted,)).model_dump(mode="json"))

    return make

"""The whole map on the memory broker: the real processors, a scripted provider, a clock that the test moves."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from processors.catalog import Catalog
from processors.evaluators.calibration import Calibration, Evidence, Map
from processors.grading import Grading
from processors.inference import Inference
from processors.intake import Intake
from processors.models import read_models
from processors.policy.health import Health
from processors.providers.scripted import ScriptedProvider, answer
from processors.reviewing import Reviewing
from processors.routing import Routing
from processors.validation import Validation
from schemas.avro import row_schema
from schemas.base import json_text, sha256_hex
from schemas.control import Bundle, Control, ControlKind, SwitchKind
from sinks.batch import Batch, Limits
from sinks.flush import insert_part
from sinks.memory import MemorySink
from streams.batch import SCHEMA, TABLE
from streams.control import ControlHistory
from streams.deltas import Deltas
from streams.memory import MemoryBroker, MemoryPublisher, MemorySource
from streams.pipeline import STAGES, Processors, pipeline
from streams.records import Record
from streams.worker import Worker

LIMIT_S = 20
START_S = 60
ROOT = Path(__file__).parents[2]

MODELS = """
[providers.near]
base_url = "http://127.0.0.1:1/v1"

[providers.far]
base_url = "http://127.0.0.1:2/v1"

[models.tiny]
provider = "near"
id = "tiny"
tier = "A"
prices = { input_usd = 1, output_usd = 2 }
max_output_tokens = 100
capabilities = ["json_schema", "logprobs"]

[models.grand]
provider = "far"
id = "grand"
tier = "C"
prices = { input_usd = 100, output_usd = 200 }
max_output_tokens = 100
capabilities = ["logprobs"]
"""

FILES = {
    "workflow.toml": """
task = "classify"
owner = "someone"

[[ladder]]
variant = "small"
tier = "A"
model = "tiny"

[[ladder]]
variant = "large"
tier = "C"
model = "grand"
prompt = "small"

[gate]
accept_at = 0.85
climb_below = 0.72
fields = ["/intent"]
""",
    "prompts/small/user.md": "Text: {{ input.text }}",
    "input.schema.json": """{"type": "object", "properties": {"text": {"type": "string"}},
        "required": ["text"], "additionalProperties": false}""",
    "output.schema.json": """{"type": "object", "properties": {"intent": {"enum": ["lost", "found"]}},
        "required": ["intent"], "additionalProperties": false}""",
}

EVIDENCE = Evidence(
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


def calibrated(workflow):
    """A calibration that leaves the raw score as it is."""
    maps = tuple(
        Map(
            variant=rung.variant,
            model=rung.model,
            variant_sha256=workflow.variant_hashes[rung.variant],
            method="platt",
            slope=1.0,
            intercept=0.0,
            evidence=EVIDENCE,
        )
        for rung in workflow.settings.ladder
    )
    return json.dumps(Calibration(maps=maps).model_dump(mode="json"))


def sure(request):
    """What a model says that knows the answer."""
    return answer('{"intent":"lost"}', model=request.model.id, probability=0.99)


class Clock:
    """The wall clock and what the test adds to it; whoever sleeps wakes up when the test has moved it far enough."""

    def __init__(self):
        self._added = timedelta()
        self._moved = asyncio.Event()

    def __call__(self):
        return datetime.now(UTC) + self._added

    def move(self, seconds):
        self._added += timedelta(seconds=seconds)
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep(self, seconds):
        until = self() + timedelta(seconds=seconds)
        while self() < until:
            await self._moved.wait()


class Line:
    """The pipeline, its broker and its switches; `script` is what the providers say, and can be changed at any time."""

    def __init__(self):
        self.clock = Clock()
        self.broker = MemoryBroker()
        self.catalog = Catalog(read_models("models.toml", MODELS, {}, {}))
        self.history = ControlHistory(self.catalog)
        self.health = Health()
        self.script = sure
        self.provider = ScriptedProvider(self._say)
        self.waits = []
        self.replaced = {}
        self.worker = None
        self.running = None
        self.every_topic = False
        self.claims = None
        self.tools = None
        self.sources = ()
        self.opened = []
        self._activate()

    def _say(self, request):
        return self.script(request)

    def _activate(self):
        plain = Bundle(workflow="sorting", files=FILES)
        self.catalog.add(plain)
        files = FILES | {"calibration.json": calibrated(self.catalog.workflow("sorting", plain.version))}
        self.bundle = Bundle(workflow="sorting", files=files)
        self.release(files)

    def release(self, files):
        """Make a version of the workflow the active one; returns its name."""
        bundle = Bundle(workflow="sorting", files=files)
        self.history.on_bundle(bundle)
        self.throw(ControlKind.ACTIVATE, SwitchKind.WORKFLOW, "sorting", bundle.version)
        return bundle.version

    def throw(self, kind, target, name, version=""):
        """Throw a switch."""
        switch = Control(kind=kind, target=target, name=name, version=version, who="t", why="t", at=self.clock())
        self.history.on_control(self.history.state.version + 1, switch)

    def kill(self, target, name):
        self.throw(ControlKind.KILL, target, name)

    def unkill(self, target, name):
        self.throw(ControlKind.UNKILL, target, name)

    # --- the worker --------------------------------------------------------------------------------------------------

    def start(self):
        self.worker = Worker(
            self._stages(),
            self._open_source,
            MemoryPublisher(self.broker, "all"),
            "test",
            control_version=lambda: self.history.state.version,
            reviewing=Reviewing(self.catalog),
            clock=self.clock,
            sleep=self.clock.sleep,
            claims=self.claims,
            sources=self.sources,
            every_topic=self.every_topic,
            tell=self.broker.append,
            answered=self.health.answered,
        )
        self.running = asyncio.create_task(self.worker.run())

    def _open_source(self, stage, topics, changelog):
        self.opened.append(MemorySource(self.broker, stage, topics, changelog))
        return self.opened[-1]

    def _stages(self):
        catalog, clock, providers = self.catalog, self.clock, dict.fromkeys(("near", "far"), self.provider)
        processors = {
            "intake": Intake(catalog, self.control, clock),
            "routing": Routing(catalog, self.control, clock, self.health.seen_ms),
            "inference": Inference(
                catalog,
                providers,
                self.control,
                clock,
                self._wait,
                lambda: 1.0,
                show=Deltas(self.broker.append),
                tools=self,
            ),
            "validation": Validation(catalog, self.control),
            "grading": Grading(catalog, self.control, clock),
        }
        return pipeline(Processors(**processors | self.replaced), dict.fromkeys(STAGES, 16))

    def control(self):
        return self.history.state

    async def call(self, tool, arguments, key, timeout_s):
        """Call a tool; who answers can be changed at any time."""
        return await self.tools.call(tool, arguments, key, timeout_s)

    async def _wait(self, seconds):
        self.waits.append(seconds)
        await asyncio.sleep(0)

    async def kill_worker(self):
        """End it where it stands, as a process that dies: nothing more is committed."""
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    async def stop(self):
        if self.running is not None and not self.running.done():
            self.worker.stop()
            await self.running

    # --- what goes in and what comes out -----------------------------------------------------------------------------

    def publish(self, value, key=None, headers=()):
        """A record on `jobs`, as a producer writes it; returns its address."""
        value = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.broker.append(Record("jobs", key, value, headers))

    def submit(self, job_id, text="my card", **fields):
        return self.publish({"workflow": "sorting", "input": {"text": text}, "job_id": job_id} | fields)

    async def until(self, condition):
        """Wait until a condition holds, looking whenever something was appended."""
        async with asyncio.timeout(LIMIT_S):
            while not (found := condition()):
                assert self.running is None or not self.running.done(), self.running
                await self.broker.changed()
        return found

    async def result(self, job_id):
        """The result of a job, once it has one."""
        await self.until(lambda: job_id in self.results())
        return self.results()[job_id]

    def values(self, topic):
        return [json.loads(raw.value) for raw in self.broker.records(topic)]

    def results(self):
        """The results by job id; a second one of a job fails the test."""
        found = self.values("results")
        by_id = {one["job_id"]: one for one in found}
        assert len(by_id) == len(found), "a job has two results"
        return by_id

    def stored(self):
        """A sink that holds all trace rows so far."""
        batch, sink = Batch(Limits(10**9, 10**12, 1e9)), MemorySink()
        for raw in self.broker.records("traces"):
            headers = dict(raw.headers)
            batch.add(headers[TABLE].decode(), headers[SCHEMA].decode(), raw.value, None, 0.0)
        for part in batch.take():
            assert not insert_part(sink, part, row_schema(part.table, part.fingerprint))
        return sink

    def rows(self, table, job_id):
        return [row for row in self.stored().rows(table) if row["job_id"] == job_id]

    def unfinished(self):
        """Records that no group has finished, by topic."""
        read = {stage.reads[-1].name: stage.name for stage in self.worker.stages}
        read |= {
            "jobs": "intake",
            "jobs.low": "intake.jobs.low",
            "jobs.high": "intake.jobs.high",
            "spend": "routing",
            "retries.10s": "delays",
        }
        behind = {}
        for (topic, partition), log in self.broker.logs.items():
            if topic in read:
                committed = self.broker.commits[read[topic]].get((topic, partition), (0, ""))[0]
                behind[topic] = behind.get(topic, 0) + len(log) - committed
        return {topic: count for topic, count in behind.items() if count}


@pytest.fixture(scope="session")
def penstock_run(tmp_path_factory, eventually):
    """Give a context manager: `penstock run` as a process, and its log; it must end in good order."""

    @contextmanager
    def run(environment):
        log = tmp_path_factory.mktemp("worker") / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                (sys.executable, "-m", "penstock.cli", "run"), env=os.environ | environment, stderr=output, cwd=ROOT
            )

        def ready():
            assert process.poll() is None, log.read_text()
            return b'"event": "ready"' in log.read_bytes()

        eventually(ready, START_S)
        yield process, log
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_S) == 0, log.read_text()

    return run


@pytest.fixture
async def line():
    """A pipeline that runs until the test ends; every trace row that it wrote must be storable."""
    with structlog.testing.capture_logs():  # a printed traceback takes longer than a test
        made = Line()
        made.start()
        yield made
        await made.stop()
    made.stored()


@pytest.fixture
async def long_line(line):
    """The pipeline with every stage reading its topic, as if each had a process of its own."""
    await line.stop()
    line.every_topic = True
    line.start()
    return line


@pytest.fixture
def snapshot():
    """Give a function that makes a context snapshot whose hash is right."""

    def make(**changes):
        chunks = [{"id": "c1", "text": "Cards arrive in five days.", "source": "faq"}]
        content = [[chunk["id"], chunk.get("text"), chunk.get("uri"), chunk.get("source", "")] for chunk in chunks]
        fields = {"id": "faq", "version": "3", "taken_at": "2026-01-01T00:00:00Z", "chunks": chunks}
        return fields | {"sha256": sha256_hex(json_text(content))} | changes

    return make

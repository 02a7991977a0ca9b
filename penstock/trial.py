"""A job through the five processors without a broker: to try a workflow, to judge it by cases, or as a library.

The processors and the ways between them are those of the map; what the broker does for a job is not here: nothing
survives the process, duplicates are not known, and what would wait for minutes ends as `waiting`.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import orjson

from penstock import compose
from penstock.settings import load_settings
from processors.bundle import read_bundle
from processors.catalog import Catalog
from processors.control import ControlState
from processors.grading import Grading
from processors.inference import Inference
from processors.intake import Intake
from processors.models import Models
from processors.outcome import Outcome, Processor
from processors.providers.http import connect
from processors.providers.port import Provider
from processors.providers.tools_http import HttpTools
from processors.routing import Routing
from processors.tools.port import ToolCaller
from processors.validation import Validation
from processors.workflow import Workflow
from schemas.base import JsonText, json_text
from schemas.control import Bundle
from schemas.envelope import Envelope, Head
from schemas.stages import Attempt, GateDecision, Status
from streams.assignment import Assignment
from streams.header_names import DUE, header_int
from streams.pipeline import STAGES, Processors, pipeline
from streams.records import Address, Delivery, Raw, Record
from streams.stage import Moment
from streams.topics import DEAD_LETTERS, ESCALATIONS, JOBS, RESULTS
from streams.trace_rows import after
from streams.wire import returning_record
from streams.work import StageWork

LONGEST_WAIT_S: Final = 15.0
"""Seconds that a trial waits before a stage is tried again; a job that must wait longer ends as `waiting`."""
MAX_STEPS: Final = 100

ACCEPTED, ESCALATED, WAITING = Status.ACCEPTED.value, "escalated", "waiting"


@dataclass(frozen=True, slots=True)
class TrialStep:
    """What one stage did: its outcome, and the milliseconds it took."""

    stage: str
    rung: int
    round: int
    outcome: Outcome[Any]
    ms: float


@dataclass(frozen=True, slots=True)
class Trial:
    """How a job went. `status` is that of a result, or `escalated`, or `waiting`; costs are US dollars."""

    head: Head
    status: str
    reason: str
    output: JsonText | None
    proposed: JsonText | None
    steps: tuple[TrialStep, ...]
    ms: float

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Every call, in order."""
        return tuple(attempt for step in self.steps for attempt in step.outcome.facts.attempts)

    @property
    def gate(self) -> GateDecision | None:
        """What the gate said last."""
        return next((step.outcome.facts.gate for step in reversed(self.steps) if step.outcome.facts.gate), None)

    @property
    def cost_usd(self) -> Decimal | None:
        """What all calls cost; None if the price of one is unknown."""
        return None if self.head.spent.unpriced else self.head.spent.cost_usd


class Trials:
    """Runs jobs of a catalogue's workflow versions, any number at once.

    Args:
        catalog: the models, and the versions that may be run.
        providers: where the models answer, by provider name.
        control: which version is in force for each workflow, and what is killed.
        clock: the time.
        tools: where tools are called; needed for versions that have some.
    """

    def __init__(
        self,
        catalog: Catalog,
        providers: Mapping[str, Provider],
        control: ControlState,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        tools: ToolCaller | None = None,
    ) -> None:
        def switches() -> ControlState:
            return control

        chance = random.SystemRandom().random
        self._clock = clock
        self._control = control
        self._run = Processors(
            intake=Intake(catalog, switches, clock),
            routing=Routing(catalog, switches, clock),
            inference=Inference(catalog, providers, switches, clock, asyncio.sleep, chance, tools=tools),
            validation=Validation(catalog, switches),
            grading=Grading(catalog, switches, clock),
        )

    async def run(self, fields: Mapping[str, Any]) -> Trial:
        """A job from the fields that a producer would publish.

        Raises:
            Unreadable: they are no JSON object.
        """
        return await _Trip(self._run, self._clock, self._control.version, fields).run()


async def run_job(workflow: str, value: Any, *, project: Path | None = None, **fields: Any) -> Trial:
    """One job of a workflow of the project, as it lies in its folder, from its input to its end.

    Args:
        workflow: its name.
        value: the input, as JSON values.
        project: the project's folder; by default here or above.
        fields: other fields of a job: tenant, segments, max_cost_usd, …

    Raises:
        SettingsError: there is no project, or a setting is wrong.
        WorkflowError: the workflow does not compile, or there is none of that name.
        ModelsError: models.toml can't be used.
        CredentialError: a provider's key is not in the environment.
    """
    settings = load_settings(project)
    bundle = read_bundle(settings.project / "workflows" / workflow)
    async with opened(compose.models(settings), bundle) as trials:
        return await trials.run({"workflow": workflow, "input": value, **fields})


@contextlib.asynccontextmanager
async def opened(models: Models, bundle: Bundle) -> AsyncIterator[Trials]:
    """Trials of one version, with the providers that it may call.

    Raises:
        WorkflowError: it does not compile.
        CredentialError: a provider's key is not in the environment.
    """
    catalog = Catalog(models)
    catalog.add(bundle)
    compiled = catalog.workflow(bundle.workflow, bundle.version)
    assert compiled is not None, "it was added a moment ago"
    providers, tools = connect(models), HttpTools()
    try:
        yield Trials(catalog, providers, in_force(compiled), tools=tools)
    finally:
        await asyncio.gather(tools.aclose(), *(provider.aclose() for provider in providers.values()))


class _Trip:
    """One job on its way: what a stage writes for it is what the next one reads, as on the broker."""

    def __init__(
        self, run: Processors, clock: Callable[[], datetime], control_version: int, fields: Mapping[str, Any]
    ) -> None:
        self._clock = clock
        self._control_version = control_version
        self._began = time.perf_counter()
        self._steps: list[TrialStep] = []
        self._record = Record(JOBS.name, None, orjson.dumps(dict(fields)))
        self._head: Head = JOBS.decode(self._delivered(0)).head
        watched = Processors(**{name: self._watched(name, getattr(run, name)) for name in STAGES})
        self._works = {
            topic.name: StageWork(stage, "trial", "trial", clock, lambda: control_version)
            for stage in pipeline(watched, dict.fromkeys(STAGES, 1))
            for topic in stage.reads
        }

    async def run(self) -> Trial:
        for n in range(MAX_STEPS):
            delivery = self._delivered(n)
            emission = await self._works[self._record.topic](delivery)
            self._record = next(record for record in emission.records if record.topic != DEAD_LETTERS.name)
            ended = await self._ended() if self._record.topic not in self._works else None
            if ended is not None:
                return ended
        raise AssertionError(f"{self._record.key!r}: no end after {MAX_STEPS} steps")

    def _delivered(self, n: int) -> Delivery:
        record, now = self._record, int(self._clock().timestamp() * 1000)
        raw = Raw(record.key, record.value, record.headers)
        return Delivery(Address(record.topic, 0, n), now, raw, Assignment(record.topic, 0))

    def _watched(self, stage: str, runs: "Processor[Any, Any]") -> "Processor[Any, Any]":
        async def watch(envelope: Envelope[Any]) -> Outcome[Any]:
            head, started = envelope.head, time.perf_counter()
            outcome = await runs(envelope)
            took_ms = (time.perf_counter() - started) * 1000
            self._steps.append(TrialStep(stage, head.rung, head.round, outcome, took_ms))
            self._head = after(stage, head, outcome, Moment(self._clock(), 0.0, took_ms, "", self._control_version, 0))
            return outcome

        return watch

    async def _ended(self) -> Trial | None:
        """The trial if what was written last ends it; else the record comes back when its time has come."""
        record = self._record
        if record.topic == RESULTS.name:
            result = orjson.loads(record.value or b"")
            return self._trial(result["status"], result["reason"], output=_text(result["output"]))
        if record.topic == ESCALATIONS.name:
            escalation = orjson.loads(record.value or b"")
            return self._trial(ESCALATED, escalation["reason"], proposed=_text(escalation["proposed"]))
        wait_s = header_int(record.headers, DUE, 0) / 1000 - self._clock().timestamp()
        if wait_s > LONGEST_WAIT_S:
            reason = self._steps[-1].outcome.reason
            return self._trial(WAITING, f"{reason}; to be tried again after {wait_s:.0f} s")
        await asyncio.sleep(max(0.0, wait_s))
        back = returning_record(self._delivered(0))
        assert back is not None, f"{record.topic}: a stage wrote what returns nowhere"
        self._record = back
        return None

    def _trial(
        self, status: str, reason: str, *, output: JsonText | None = None, proposed: JsonText | None = None
    ) -> Trial:
        took_ms = (time.perf_counter() - self._began) * 1000
        return Trial(self._head, status, reason, output, proposed, tuple(self._steps), took_ms)


def _text(value: Any) -> JsonText | None:
    return None if value is None else json_text(value)


def in_force(workflow: Workflow) -> ControlState:
    """A control state in which this version, and nothing else, is in force."""
    return replace(ControlState(), active={workflow.name: workflow.version})

"""A job through the five processors without a broker: to try a workflow, to judge it by cases, or as a library.

The processors and the totals are those of the pipeline; what the broker does for a job is not here: nothing survives
the process, duplicates are not known, and what would wait for minutes ends as `waiting`.
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
from processors.outcome import Climb, Escalate, Outcome, Pass, Processor, Reject, Retry
from processors.providers.http import connect
from processors.providers.port import Provider
from processors.routing import Routing
from processors.validation import Validation
from processors.workflow import Workflow
from schemas.base import JsonText
from schemas.control import Bundle
from schemas.envelope import Envelope, Head
from schemas.stages import Accepted, Admitted, Attempt, GateDecision, Status, Submission
from schemas.submission import origin_of, read_submission, undecided_job
from streams.pipeline import STAGES
from streams.stage import Moment
from streams.trace_rows import after

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
    """

    def __init__(
        self,
        catalog: Catalog,
        providers: Mapping[str, Provider],
        control: ControlState,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        def switches() -> ControlState:
            return control

        chance = random.SystemRandom().random
        self._clock = clock
        self._control = control
        self._processors: dict[str, Processor[Any, Any]] = {
            "intake": Intake(catalog, switches, clock),
            "routing": Routing(catalog, switches, clock),
            "inference": Inference(catalog, providers, switches, clock, asyncio.sleep, chance),
            "validation": Validation(catalog, switches),
            "grading": Grading(catalog, switches, clock),
        }

    async def run(self, fields: Mapping[str, Any]) -> Trial:
        """A job from the fields that a producer would publish.

        Raises:
            Unreadable: they are no JSON object.
        """
        now = self._clock()
        origin = origin_of("trial", 0, 0, None, ())
        submission = read_submission(orjson.dumps(dict(fields)), origin, now)
        return await _Trip(self._processors, self._clock, self._control.version, submission).run()


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
    providers = connect(models)
    try:
        yield Trials(catalog, providers, in_force(compiled))
    finally:
        await asyncio.gather(*(provider.aclose() for provider in providers.values()))


class _Trip:
    """One job on its way."""

    def __init__(
        self,
        processors: "Mapping[str, Processor[Any, Any]]",
        clock: Callable[[], datetime],
        control_version: int,
        submission: Envelope[Submission],
    ) -> None:
        self._processors = processors
        self._clock = clock
        self._control_version = control_version
        self._began = time.perf_counter()
        self._job = undecided_job(submission.payload, submission.head.workflow)
        self._steps: list[TrialStep] = []

        self._stage: str = STAGES[0]
        self._envelope: Envelope[Any] = submission

    async def run(self) -> Trial:
        for _ in range(MAX_STEPS):
            outcome = await self._step()
            ended = self._ended(outcome)
            if ended is not None:
                return ended
            await self._go_on(outcome)
        raise AssertionError(f"{self._envelope.head.job_id}: no end after {MAX_STEPS} steps")

    async def _step(self) -> Outcome[Any]:
        head, started = self._envelope.head, time.perf_counter()
        outcome = await self._processors[self._stage](self._envelope)
        took_ms = (time.perf_counter() - started) * 1000
        self._steps.append(TrialStep(self._stage, head.rung, head.round, outcome, took_ms))
        moment = Moment(self._clock(), 0.0, took_ms, "trial", self._control_version, 0)
        self._envelope = Envelope.made(head=after(self._stage, head, outcome, moment), payload=self._envelope.payload)
        return outcome

    def _ended(self, outcome: Outcome[Any]) -> Trial | None:
        match outcome:
            case Pass(product=Accepted() as accepted, reason=reason):
                return self._trial(ACCEPTED, reason, output=accepted.output)
            case Escalate(reason=reason, proposed=proposed):
                return self._trial(ESCALATED, reason, proposed=proposed)
            case Reject(status=status, reason=reason, output=output):
                return self._trial(status.value, reason, output=output)
            case Retry(reason=reason, after_s=after_s) if after_s > LONGEST_WAIT_S:
                return self._trial(WAITING, f"{reason}; to be tried again after {after_s:.0f} s")
            case _:
                return None

    def _trial(
        self, status: str, reason: str, *, output: JsonText | None = None, proposed: JsonText | None = None
    ) -> Trial:
        took_ms = (time.perf_counter() - self._began) * 1000
        return Trial(self._envelope.head, status, reason, output, proposed, tuple(self._steps), took_ms)

    async def _go_on(self, outcome: Outcome[Any]) -> None:
        head = self._envelope.head
        match outcome:
            case Pass():
                self._stage = STAGES[STAGES.index(self._stage) + 1]
                self._envelope = Envelope.made(head=head.but(**outcome.head), payload=outcome.product)
            case Climb():
                self._to_routing(head.but(rung=head.rung + 1, round=0))
            case Retry(after_s=after_s):
                await asyncio.sleep(after_s)
                if self._stage == "inference":
                    self._to_routing(head.but(round=head.round + 1))
            case Escalate() | Reject():
                raise AssertionError(f"{self._stage}: a job that has ended goes nowhere")

    def _to_routing(self, head: Head) -> None:
        self._stage = "routing"
        self._envelope = Envelope.made(head=head, payload=Admitted.made(job=self._job, decided=None))


def in_force(workflow: Workflow) -> ControlState:
    """A control state in which this version, and nothing else, is in force."""
    return replace(ControlState(), active={workflow.name: workflow.version})

"""Grading: how far is the answer to be trusted, and does that let it through the gate?"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from processors.catalog import Catalog
from processors.control import ReadControl
from processors.evaluators.field_probability import Unmeasured, field_probability
from processors.freshness import refused, stale
from processors.outcome import Climb, Escalate, Facts, FailureClass, Outcome, Pass, Retry
from processors.policy.failure import settle
from processors.policy.gate import Passage, Ruling, rule
from processors.policy.ladder import data_class, open_above
from processors.workflow import Workflow
from schemas.envelope import Envelope
from schemas.stages import Accepted, GateDecision, Validated

CONFIDENCE = "confidence"
"""How a workflow names the grade among what it can do without."""


@dataclass(frozen=True, slots=True)
class Confidence:
    """The raw score and its calibrated value; `calibrated` is a sentence where it is unknown."""

    raw: float | None
    calibrated: float | str
    calibration: str = ""


@dataclass(frozen=True, slots=True)
class Grading:
    """The last stage's processor before an answer leaves."""

    catalog: Catalog
    control: ReadControl
    clock: Callable[[], datetime]

    async def __call__(self, envelope: Envelope[Validated]) -> Outcome[Accepted]:
        """Accept the answer, try a higher rung, or hand it to a person."""
        head, validated = envelope.head, envelope.payload
        workflow = self.catalog.find(head)
        if isinstance(workflow, Retry):
            return workflow
        confidence = measure(validated, workflow)
        control = self.control()
        data = data_class(validated.job.data_class, workflow.settings)
        higher = bool(open_above(workflow, self.catalog.models, control, head.rung, data))
        ruling = rule(workflow.settings.gate, confidence.calibrated, higher=higher)
        gate = _gate_decision(ruling, confidence, workflow)
        facts = Facts(gate=gate)
        match ruling.passage:
            case Passage.CLIMB:
                return Climb(ruling.reason, facts)
            case Passage.ESCALATE:
                failed = FailureClass.GRADE if gate.confidence is None else None
                doubted = frozenset({CONFIDENCE} if failed else ())
                escalate = Escalate(ruling.reason, validated.output, gate.confidence, facts, failed, doubted)
                return settle(escalate, workflow, stale(validated.job, self.clock(), control.snapshots))
            case Passage.ACCEPT:
                if old := stale(validated.job, self.clock(), control.snapshots):
                    return refused(old, workflow, facts)
                accepted = Accepted.made(
                    job=validated.job,
                    decision=validated.decision,
                    completion=validated.completion,
                    output=validated.output,
                    gate=gate,
                )
                return Pass(accepted, facts, reason=ruling.reason)


def measure(validated: Validated, workflow: Workflow) -> Confidence:
    """The confidence in an answer: the probability of its fields' tokens, through the map fitted for who answered."""
    fields = workflow.settings.gate.fields
    raw = field_probability(validated.completion, fields, structured=workflow.output_schema is not None)
    if isinstance(raw, Unmeasured):
        return Confidence(None, raw.reason)
    fitted = workflow.map_for(validated.decision.variant, validated.completion.model)
    if isinstance(fitted, str):
        return Confidence(raw, fitted)
    return Confidence(raw, fitted(raw), fitted.name)


def _gate_decision(ruling: Ruling, confidence: Confidence, workflow: Workflow) -> GateDecision:
    gate = workflow.settings.gate
    return GateDecision.made(
        decision=ruling.passage,
        reason=ruling.reason,
        raw_confidence=confidence.raw,
        confidence=None if isinstance(confidence.calibrated, str) else confidence.calibrated,
        accept_at=gate.accept_at,
        climb_below=gate.climb_below,
        calibration=confidence.calibration,
    )

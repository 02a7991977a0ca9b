"""Validation: is the answer what the workflow says an answer must be? Its structure, then its schema."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from processors.catalog import Catalog
from processors.checks import strict_json
from processors.checks.strict_json import Parsed
from processors.control import ControlState, ReadControl
from processors.freshness import stale
from processors.outcome import Climb, Escalate, Facts, FailureClass, Outcome, Pass, Retry
from processors.policy.failure import settle
from processors.policy.ladder import open_above
from processors.workflow import Workflow
from schemas.base import JsonText, json_text
from schemas.control import SwitchKind
from schemas.envelope import Envelope
from schemas.stages import Answer, Finding, Validated, Verdict

STRUCTURE = "structure"
SCHEMA = "schema"


@dataclass(frozen=True, slots=True)
class Validation:
    """The fourth stage's processor. `timer` counts seconds."""

    catalog: Catalog
    control: ReadControl
    timer: Callable[[], float] = time.perf_counter
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def __call__(self, envelope: Envelope[Answer]) -> Outcome[Validated]:
        """Pass an answer that every check allows; any other climbs, or goes to a person."""
        head, answer = envelope.head, envelope.payload
        workflow = self.catalog.find(head)
        if isinstance(workflow, Retry):
            return workflow
        control = self.control()
        output, findings = self._checked(answer.completion.text, workflow, control)
        facts = Facts(findings=findings)
        amiss = [finding for finding in findings if finding.verdict is not Verdict.ALLOW]
        if output is None or amiss:
            reason = "; ".join(f"check {finding.check}: {finding.verdict}: {finding.evidence}" for finding in amiss)
            if open_above(workflow, self.catalog.models, control, head.rung):
                return Climb(reason, facts)
            unknown = frozenset(finding.check for finding in amiss if finding.verdict is Verdict.UNKNOWN)
            failed = FailureClass.CHECK if len(unknown) == len(amiss) else None
            said = f"{reason}, and no higher rung stands open"
            escalate = Escalate(said, output, facts=facts, failed=failed, doubted=unknown)
            return settle(escalate, workflow, stale(answer.job, self.clock(), control.snapshots))
        validated = Validated.made(
            job=answer.job,
            decision=answer.decision,
            completion=answer.completion,
            output=output,
            findings=findings,
        )
        return Pass(validated, facts)

    def _checked(
        self, text: str, workflow: Workflow, control: ControlState
    ) -> tuple[JsonText | None, tuple[Finding, ...]]:
        """The output as JSON text, if the answer can be read, and what the checks found."""
        run, schema = partial(self._run, control), workflow.output_schema
        if schema is None:
            filled = run(STRUCTURE, strict_json.VERSION, lambda: "" if text.strip() else "the answer is empty")
            return (json_text(text) if filled.verdict is Verdict.ALLOW else None), (filled,)
        read: list[Parsed] = []
        structure = run(STRUCTURE, strict_json.VERSION, lambda: _unreadable(text, read))
        if not read:
            return None, (structure,)
        parsed = read[0]
        conforms = run(SCHEMA, workflow.version, lambda: "; ".join(schema.violations(parsed.value)))
        return parsed.text, (structure, conforms)

    def _run(self, control: ControlState, check: str, version: str, object_to: Callable[[], str]) -> Finding:
        """A check's finding from what it objects to; one that breaks has no verdict, which is not the same as allow."""
        if control.killed(SwitchKind.CHECK, check):
            return Finding.made(check=check, version=version, verdict=Verdict.UNKNOWN, evidence="it is killed", ms=0.0)
        begun = self.timer()
        try:
            evidence = object_to()
            verdict = Verdict.DENY if evidence else Verdict.ALLOW
        except Exception as error:  # noqa: BLE001 -- a check that breaks must not let the answer through, nor end the job
            verdict, evidence = Verdict.UNKNOWN, f"the check failed: {type(error).__name__}: {error}"
        ms = (self.timer() - begun) * 1000
        return Finding.made(check=check, version=version, verdict=verdict, evidence=evidence, ms=ms)


def _unreadable(text: str, read: list[Parsed]) -> str:
    """Why the text is no JSON value; if it is one, it is added to `read`."""
    parsed = strict_json.parse(text)
    if isinstance(parsed, Parsed):
        read.append(parsed)
        return ""
    return parsed.reason

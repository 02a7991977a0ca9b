"""Validation: is the answer what the workflow says an answer must be? Structure, schema, then the owner's rules."""

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
from processors.policy.business import Ruled
from processors.policy.failure import settle
from processors.policy.ladder import data_class, open_above
from processors.workflow import Workflow
from schemas.base import JsonText, json_text
from schemas.control import SwitchKind
from schemas.envelope import Envelope
from schemas.stages import Answer, Finding, Validated, Verdict

STRUCTURE = "structure"
SCHEMA = "schema"
RULES = "rules"
TOOLS = "tools"


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
        parsed, findings = self._checked(answer.completion.text, workflow, control)
        output, handed = (parsed.text if parsed else None), ""
        if parsed is not None and workflow.business and all(one.verdict is Verdict.ALLOW for one in findings):
            output, finding, handed = self._ruled(parsed, envelope, workflow, control)
            findings = (*findings, finding)
        findings = (*findings, *_of_tools(answer.completion.degraded))
        facts = Facts(findings=findings)
        if handed:
            return Escalate(handed, output, facts=facts)
        amiss = [finding for finding in findings if finding.verdict is not Verdict.ALLOW]
        if output is None or amiss:
            reason = "; ".join(f"check {finding.check}: {finding.verdict}: {finding.evidence}" for finding in amiss)
            data = data_class(answer.job.data_class, workflow.settings)
            if open_above(workflow, self.catalog.models, control, head.rung, data):
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
    ) -> tuple[Parsed | None, tuple[Finding, ...]]:
        """The output, if the answer can be read, and what the checks found."""
        run, schema = partial(self._run, control), workflow.output_schema
        if schema is None:
            filled = run(STRUCTURE, strict_json.VERSION, lambda: "" if text.strip() else "the answer is empty")
            return (Parsed(text, json_text(text)) if filled.verdict is Verdict.ALLOW else None), (filled,)
        read: list[Parsed] = []
        structure = run(STRUCTURE, strict_json.VERSION, lambda: _unreadable(text, read))
        if not read:
            return None, (structure,)
        parsed = read[0]
        conforms = run(SCHEMA, workflow.version, lambda: "; ".join(schema.violations(parsed.value)))
        return parsed, (structure, conforms)

    def _ruled(
        self, parsed: Parsed, envelope: Envelope[Answer], workflow: Workflow, control: ControlState
    ) -> tuple[JsonText, Finding, str]:
        """The output after the business rules, what they found, and why a person must decide, if one must."""
        found: list[Ruled] = []

        def object_to() -> str:
            job, head = envelope.payload.job, envelope.head
            found.append(workflow.business.rule(parsed.value, job, head.segments, head.tenant))
            if found[0].unknown:
                raise LookupError(found[0].unknown)
            denied = f"rule {found[0].rule.name}: {found[0].rule.deny}" if found[0].rule and found[0].rule.deny else ""
            return denied or "; ".join(self._no_answer(found[0], workflow))

        finding = self._run(control, RULES, workflow.version, object_to)
        acted = found[0].rule if found and finding.verdict is Verdict.ALLOW else None
        if acted is None:
            return parsed.text, finding, ""
        said = acted.escalate or ", ".join(f"{name} = {json_text(value)}" for name, value in (acted.set or {}).items())
        told = finding.but(evidence=f"rule {acted.name}: {said}")
        return json_text(found[0].value), told, f"rule {acted.name}: {said}" if acted.escalate else ""

    @staticmethod
    def _no_answer(ruled: Ruled, workflow: Workflow) -> tuple[str, ...]:
        """What is wrong with an answer after a rule has set its fields."""
        if ruled.rule is None or ruled.rule.set is None or workflow.output_schema is None:
            return ()
        violations = workflow.output_schema.violations(ruled.value)
        return tuple(f"rule {ruled.rule.name} sets what an answer can't be: {said}" for said in violations)

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


def _of_tools(degraded: tuple[str, ...]) -> tuple[Finding, ...]:
    """An answer that rests on what no tool could tell is unknown, however sure its model is."""
    if not degraded:
        return ()
    return (Finding.made(check=TOOLS, version="1", verdict=Verdict.UNKNOWN, evidence="; ".join(degraded), ms=0.0),)


def _unreadable(text: str, read: list[Parsed]) -> str:
    """Why the text is no JSON value; if it is one, it is added to `read`."""
    parsed = strict_json.parse(text)
    if isinstance(parsed, Parsed):
        read.append(parsed)
        return ""
    return parsed.reason

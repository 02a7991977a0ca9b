"""Reviewing: what a person's verdict, or its absence, makes of a job that was handed to them."""

from dataclasses import dataclass

import orjson

from processors.catalog import Catalog
from processors.outcome import Reject, Retry
from schemas.base import JsonText
from schemas.envelope import Envelope, Head
from schemas.side import Review, ReviewVerdict
from schemas.stages import Held, Status


@dataclass(frozen=True, slots=True)
class Refused:
    """A verdict that can't be followed, and why; the job goes on waiting."""

    reason: str


@dataclass(frozen=True, slots=True)
class Longer:
    """The job goes on waiting, for somebody else."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reviewing:
    """The reviews stage's decisions. Pure but for the catalog."""

    catalog: Catalog

    def decide(self, held: Envelope[Held], review: Review) -> Reject | Longer | Refused:
        """What the verdict does."""
        case, by = held.payload, _said(review)
        match review.verdict:
            case ReviewVerdict.ESCALATE:
                return Longer(f"handed on by {by}")
            case ReviewVerdict.REJECT:
                return Reject(Status.REJECTED, f"rejected by {by}")
            case ReviewVerdict.CORRECT:
                if review.output is None:
                    return Refused("a correction must hold the right answer, in output")
                return self._given(held.head, Reject(Status.CORRECTED, f"corrected by {by}", review.output))
            case ReviewVerdict.ACCEPT:
                if case.proposed is None:
                    return Refused("there is no answer to accept: nothing was proposed. Correct it, or reject the job")
                return self._given(held.head, Reject(Status.ACCEPTED_AFTER_REVIEW, f"accepted by {by}", case.proposed))

    def _given(self, head: Head, end: Reject) -> Reject | Refused:
        """The end, if its output may be given out: a person may decide what is right, not what is valid."""
        wrong = "" if end.output is None else self._violations(head, end.output)
        return Refused(f"its output may not be given out: {wrong}") if wrong else end

    def _violations(self, head: Head, output: JsonText) -> str:
        """Why an answer does not fit the workflow's schema; empty if it does."""
        workflow = self.catalog.find(head)
        if isinstance(workflow, Retry):
            return workflow.reason
        if workflow.output_schema is None:
            return ""
        return "; ".join(workflow.output_schema.violations(orjson.loads(output)))


def expired(case: Held) -> Reject:
    """The end of a job that nobody has decided in time."""
    return Reject(
        Status.EXPIRED, f"no verdict by {case.expires_at.isoformat()}; it was escalated because: {case.reason}"
    )


def _said(review: Review) -> str:
    return f"{review.reviewer}: {review.note}" if review.note else review.reviewer

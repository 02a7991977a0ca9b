"""What a failure means: closed, and a person decides; open, and a fixed answer stands in for the model's. Pure.

A failure is something that could not be found out: no model answers, a rule, a check or a grade is unknown. An answer
that a check denies or that is graded too low is no failure: a person decides in either mode. Neither is a stale
snapshot, which always ends as stale_context.
"""

from typing import TypeVar

from processors.freshness import refused
from processors.outcome import Escalate, Outcome, Reject
from processors.settings import FailureMode
from processors.workflow import Workflow
from schemas.base import Record
from schemas.stages import Status

Out = TypeVar("Out", bound=Record)


def settle(outcome: Outcome[Out], workflow: Workflow, old: str | None = None) -> Outcome[Out]:
    """The outcome as the workflow's failure mode has it; anything but a failure is left as it is.

    In open mode an answer that every check but some unknown ones allows is let through as accepted_unverified if the
    workflow names all of these; else the workflow's fallback answers. `old` says why the context which the answer
    rests on may not be used any more.
    """
    if not isinstance(outcome, Escalate) or outcome.failed is None:
        return outcome
    failure = workflow.settings.failure
    if failure.mode_of(outcome.failed, workflow.settings.failure_mode) is FailureMode.CLOSED:
        return outcome
    said = f"{outcome.reason}; {outcome.failed} fails open"
    if outcome.proposed is not None and outcome.doubted and outcome.doubted <= frozenset(failure.accept_unverified):
        if old:
            return refused(old, workflow, outcome.facts)
        why = f"{said}: accepted without {', '.join(sorted(outcome.doubted))}"
        return Reject(Status.ACCEPTED_UNVERIFIED, why, outcome.proposed, outcome.facts)
    if workflow.fallback is not None:
        return Reject(Status.FALLBACK_ANSWER, f"{said}: the fallback answers", workflow.fallback, outcome.facts)
    return outcome

"""What `penstock try` shows of a job's way."""

from datetime import UTC, datetime

import pytest
from rich.console import Console

from penstock.cli.trial_view import _facts
from penstock.trial import TrialStep
from processors.outcome import Facts, Pass, Retry
from schemas.job import Job
from schemas.stages import Attempt, Decision, Routed, Tier


def test_a_decision_is_shown_with_what_it_passed_over_and_what_it_would_have_been():
    """The owner sees which constraint decided."""
    decision = Decision(
        variant="large",
        tier=Tier.C,
        provider="here",
        model="grand",
        reasons=("classify starts at tier A",),
        skipped=("rung 0 small: model tiny is killed",),
        without={"switches": "small"},
    )
    routed = Routed(job=Job(workflow="sorting", input="{}"), decision=decision)
    console = Console(width=120)
    with console.capture() as shown:
        for line in _facts(TrialStep("routing", 0, 0, Pass(routed, Facts(decision=decision)), 0.1)):
            console.print(line)
    assert shown.get().splitlines() == [
        "variant large on grand: classify starts at tier A",
        "not rung 0 small: model tiny is killed",
        "without switches it would be small",
    ]


@pytest.mark.parametrize(
    ("response", "shown_as"),
    [
        ('data: {"choices":[{"index":0,"delta":{"content":"fine"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n', "fine"),
        ('{"choices":[{"message":{"content":"fine"},"finish_reason":"stop"}]}', "fine"),
        ("<html>away</html>", "<html>away</html>"),
    ],
    ids=["stream", "whole", "none"],
)
def test_of_an_answer_the_text_is_shown_however_it_came(response, shown_as):
    """What a model wrote, not how its provider wraps it; what can't be read is shown as it is."""
    at = datetime(2026, 11, 21, tzinfo=UTC)
    fields = {"attempt_id": "a", "n": 1, "provider": "here", "model_asked": "m", "prompt_sha256": "0", "request": "{}"}
    facts = Facts(attempts=(Attempt(**fields, response=response, started_at=at, total_ms=5.0),))
    lines = list(_facts(TrialStep("inference", 0, 0, Retry("again", 1.0, facts=facts), 5.0)))
    assert lines[1] == f"[dim]{shown_as}[/]"

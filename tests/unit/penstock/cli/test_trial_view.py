"""What `penstock try` shows of a job's way."""

from rich.console import Console

from penstock.cli.trial_view import _facts
from penstock.trial import TrialStep
from processors.outcome import Facts, Pass
from schemas.job import Job
from schemas.stages import Decision, Routed, Tier


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

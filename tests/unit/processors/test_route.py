from decimal import Decimal

import pytest

from processors.control import ControlState
from processors.policy.route import Choice, NoRung, RouteRequest, route, starting_rung, starting_tier
from schemas.control import SwitchKind
from schemas.envelope import Spent
from schemas.job import Risk, TaskType
from schemas.stages import Tier


@pytest.fixture
def choose(desk):
    """Give a function that routes a request through the three-rung workflow."""

    def run(control=None, **changes):
        fields = {"task": TaskType.CLASSIFY, "risk": Risk.NORMAL, "size": 20} | changes
        return route(RouteRequest(**fields), desk.workflow, desk.models, control or ControlState())

    return run


@pytest.mark.parametrize(
    ("risk", "task", "latency", "tier"),
    [
        ("high", "classify", 100, "C"),
        ("high", "qa", None, "C"),
        ("normal", "classify", 1200, "A"),
        ("normal", "extract", 1, "A"),
        ("low", "rewrite", 1200, "A"),
        ("normal", "classify", 1201, "A"),
        ("normal", "classify", None, "A"),
        ("normal", "summarize", None, "B"),
        ("normal", "qa", 100, "B"),
        ("low", "route", None, "B"),
        ("normal", "other", None, "A"),
    ],
)
def test_the_default_policy(risk, task, latency, tier):
    """The first line of the default policy that fits gives the tier to start at."""
    assert starting_tier(Risk(risk), TaskType(task), latency)[0] is Tier(tier)


def test_a_ladder_that_does_not_reach_the_tier_serves_with_its_last_rung(desk):
    """High risk on a ladder without tier C takes the best there is, and says so."""
    index, reason = starting_rung(desk.workflow.settings.ladder[:2], Tier.C)
    assert index == 1
    assert "ends below tier C" in reason


def test_the_decision_names_rung_model_and_reasons_in_order(choose):
    """What was weighed is recorded, in the order in which it was."""
    choice = choose()
    assert choice.rung == 0
    assert (choice.decision.variant, choice.decision.model, choice.decision.provider) == ("small", "tiny", "one")
    assert choice.decision.reasons == ("classify starts at tier A", "rung 0 small is the first that stands open")
    assert choice.decision.skipped == ()


def test_a_job_that_climbed_goes_on_from_its_rung(choose):
    """The policy's tier is a start, not a way back down."""
    assert choose(rung=1).rung == 1
    assert choose(rung=1, risk=Risk.HIGH).rung == 2


@pytest.mark.parametrize(
    ("kind", "name", "rung", "said"),
    [
        (SwitchKind.MODEL, "tiny", 1, "rung 0 small: model tiny is killed"),
        (SwitchKind.PROVIDER, "one", 2, "rung 1 mid: provider one is killed"),
    ],
)
def test_a_killed_model_or_provider_is_passed_over(choose, kind, name, rung, said):
    """The next rung that stands open serves, and the record says what was skipped."""
    choice = choose(ControlState(kills=frozenset({(kind, name)})))
    assert choice.rung == rung
    assert said in choice.decision.skipped


def test_a_model_that_is_not_known_here_is_passed_over(desk, models):
    """A worker with an older models.toml does not fail on a newer workflow."""
    workflow = desk.with_files(**{"workflow.toml": desk.settings_text.replace('"tiny"', '"unheard"')})
    choice = route(RouteRequest(TaskType.CLASSIFY, Risk.NORMAL, 20), workflow, models, ControlState())
    assert choice.rung == 1
    assert "not in models.toml" in choice.decision.skipped[0]


def test_no_open_rung_is_no_rung(choose):
    """Every reason is given, and money is not blamed."""
    found = choose(ControlState(kills=frozenset({(SwitchKind.PROVIDER, "one"), (SwitchKind.PROVIDER, "two")})))
    assert isinstance(found, NoRung)
    assert not found.over_budget
    assert found.reason.count("is killed") == 3


def test_beyond_the_ladders_end_there_is_no_rung(choose):
    """A climb from the last rung finds nothing, and says where the ladder ends."""
    assert choose(rung=3) == NoRung("the ladder has no rung 3: it ends at 2", over_budget=False)


def test_a_rung_that_could_cost_more_than_is_left_is_not_taken(choose):
    """The bound counts prompt, input and the longest answer."""
    worst = choose().worst_usd
    assert choose(max_cost_usd=worst).rung == 0
    found = choose(max_cost_usd=worst - Decimal("0.000000001"))
    assert found.over_budget
    assert "it could cost" in found.reason


def test_what_was_spent_counts(choose):
    """An earlier rung's cost is no longer there."""
    worst = choose().worst_usd
    assert isinstance(choose(max_cost_usd=2 * worst, spent=Spent(nano_usd=int(worst.scaleb(9)))), Choice)
    assert isinstance(choose(max_cost_usd=2 * worst, spent=Spent(nano_usd=int(2 * worst.scaleb(9)))), NoRung)


def test_an_attempt_of_unknown_cost_counts_as_the_dearest_so_far(choose):
    """Nobody knows what it cost, so as much as it can have."""
    worst = choose().worst_usd
    assert isinstance(choose(max_cost_usd=2 * worst, spent=Spent(unpriced=1)), Choice)
    assert isinstance(choose(max_cost_usd=2 * worst, spent=Spent(unpriced=2)), NoRung)


def test_an_unknown_price_is_refused_under_a_limit(desk, models):
    """Without a limit a model without price may serve; with one it may not."""
    text = desk.settings_text
    workflow = desk.with_files(**{"workflow.toml": text.replace('model = "grand"', 'model = "priceless"')})
    request = RouteRequest(TaskType.CLASSIFY, Risk.HIGH, 20)
    assert route(request, workflow, models, ControlState()).decision.model == "priceless"
    capped = RouteRequest(TaskType.CLASSIFY, Risk.HIGH, 20, max_cost_usd=Decimal(100))
    found = route(capped, workflow, models, ControlState())
    assert found.over_budget
    assert "its price is unknown" in found.reason


def test_kills_and_money_together_are_not_over_budget(choose):
    """A switch that is lifted could help, so money is not the verdict."""
    control = ControlState(kills=frozenset({(SwitchKind.MODEL, "tiny")}))
    found = choose(control, max_cost_usd=Decimal("0.0001"))
    assert isinstance(found, NoRung)
    assert not found.over_budget

from dataclasses import replace
from decimal import Decimal

import pytest

from processors.control import ControlState
from processors.policy.money import worst_case
from processors.policy.request import RouteRequest
from processors.policy.route import Choice, NoRung, route, starting_rung, starting_tier
from schemas.control import SwitchKind
from schemas.envelope import Spent
from schemas.job import DataClass, Risk, TaskType
from schemas.stages import Tier


@pytest.fixture
def choose(desk):
    """Give a function that routes a request through the three-rung workflow."""

    def run(control=None, **changes):
        fields = {"task": TaskType.CLASSIFY, "risk": Risk.NORMAL, "size": 20} | changes
        return route(RouteRequest(**fields), desk.workflow, desk.models, control or ControlState())

    return run


@pytest.fixture
def dearest(desk):
    """Give a function that says what a request of 20 bytes could cost on a rung."""
    request = RouteRequest(TaskType.CLASSIFY, Risk.NORMAL, 20)
    ladder = desk.workflow.settings.ladder
    return lambda rung: worst_case(request, ladder[rung], desk.models, desk.workflow)


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


def test_a_rung_that_could_cost_more_than_is_left_is_not_taken(choose, dearest):
    """The bound counts prompt, input and the longest answer."""
    worst = dearest(0)
    assert choose(max_cost_usd=worst).rung == 0
    found = choose(max_cost_usd=worst - Decimal("0.000000001"))
    assert found.over_budget
    assert "it could cost" in found.reason


def test_what_was_spent_counts(choose, dearest):
    """An earlier rung's cost is no longer there."""
    worst = dearest(0)
    assert isinstance(choose(max_cost_usd=2 * worst, spent=Spent(nano_usd=int(worst.scaleb(9)))), Choice)
    assert isinstance(choose(max_cost_usd=2 * worst, spent=Spent(nano_usd=int(2 * worst.scaleb(9)))), NoRung)


def test_an_attempt_of_unknown_cost_counts_as_the_dearest_so_far(choose, dearest):
    """Nobody knows what it cost, so as much as it can have."""
    worst = dearest(0)
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


@pytest.fixture
def hosted(desk):
    """The models, the second provider of which is self-hosted."""
    two = desk.models.providers["two"].model_copy(update={"self_hosted": True})
    return desk.models.model_copy(update={"providers": {**desk.models.providers, "two": two}})


def test_personal_data_goes_to_self_hosted_models_only(desk, hosted):
    """Rungs whose models are elsewhere are passed over, and the record says so and what it would have been."""
    request = RouteRequest(TaskType.CLASSIFY, Risk.NORMAL, 20, data=DataClass.PERSONAL)
    choice = route(request, desk.workflow, hosted, ControlState())
    assert choice.decision.variant == "large"
    assert choice.decision.skipped[0] == "rung 0 small: model tiny is not self-hosted, and the data is personal"
    assert choice.decision.without == {"data": "small"}


def test_personal_data_that_may_go_nowhere_is_no_rung(choose):
    """Nobody is called, money is not blamed, and the reason says what it would have been."""
    found = choose(data=DataClass.PERSONAL)
    assert isinstance(found, NoRung)
    assert not found.over_budget
    assert found.reason.endswith("; without data it would be small")


def test_a_self_hosted_fallback_serves_personal_data(desk, hosted):
    """A rung stands open with the one of its models that may see the data."""
    text = desk.settings_text.replace('model = "tiny"', 'model = "tiny"\nfallbacks = ["grand"]')
    workflow = desk.with_files(**{"workflow.toml": text})
    request = RouteRequest(TaskType.CLASSIFY, Risk.NORMAL, 20, data=DataClass.PERSONAL)
    assert route(request, workflow, hosted, ControlState()).rung == 0
    killed = ControlState(kills=frozenset({(SwitchKind.MODEL, "grand")}))
    found = route(request, workflow, hosted, killed)
    assert isinstance(found, NoRung)
    assert "rung 0 small: model grand is killed" in found.reason


def test_a_rung_that_is_seen_to_be_too_slow_is_passed_over(choose):
    """The first that answers in time serves; what is not known stands in nobody's way."""
    slow = choose(max_latency_ms=800, seen_ms={"small": 2400.0, "mid": 801.0})
    assert slow.decision.variant == "large"
    assert slow.decision.without == {"latency": "small"}
    said = "rung 0 small: 95 % of its answers came within 2400 ms, and 800 ms are allowed"
    assert slow.decision.skipped[0] == said
    assert choose(max_latency_ms=800, seen_ms={"small": 800.0}).rung == 0
    assert choose(seen_ms={"small": 2400.0}).rung == 0


def test_a_faster_rung_below_serves_where_none_above_does(choose):
    """Not where the risk is high, and not below where the job stands."""
    seen = {"small": 300.0, "mid": 2000.0, "large": 3000.0}
    asked = {"task": TaskType.QA, "max_latency_ms": 1000, "seen_ms": seen}
    below = choose(**asked)
    assert below.decision.variant == "small"
    assert below.decision.reasons[-1] == "rung 0 small below answers in time"
    assert below.decision.without == {"latency": "mid"}
    assert choose(**asked, rung=1).decision.variant == "mid"
    assert choose(**asked, risk=Risk.HIGH).decision.variant == "large"


def test_where_none_is_fast_enough_the_first_that_stands_open_serves(choose):
    """Late is better than never, and the record says that it will be."""
    seen = dict.fromkeys(("small", "mid", "large"), 5000.0)
    control = ControlState(kills=frozenset({(SwitchKind.MODEL, "tiny")}))
    late = choose(control, max_latency_ms=1000, seen_ms=seen)
    assert late.decision.variant == "mid"
    assert late.decision.reasons[-1] == "no rung is seen to answer within 1000 ms: rung 1 mid serves"
    assert [one.split(":")[0] for one in late.decision.skipped] == ["rung 0 small", "rung 2 large"]
    assert late.decision.without == {"switches": "small"}


def test_a_rule_s_start_is_not_left_for_speed(desk):
    """An owner who says where to start knows why."""
    rule = '\n[[routing.rules]]\nname = "careful"\nwhen = "true"\nstart = "mid"\n'
    workflow = desk.with_files(**{"workflow.toml": desk.settings_text + rule})
    seen = {"small": 300.0, "mid": 2000.0, "large": 3000.0}
    request = RouteRequest(TaskType.CLASSIFY, Risk.NORMAL, 20, max_latency_ms=1000, seen_ms=seen)
    choice = route(request, workflow, desk.models, ControlState())
    assert choice.decision.variant == "mid"
    assert choice.decision.without == {"rules": "small"}


def test_what_each_constraint_changed_is_told_for_itself(choose, dearest):
    """Of two that stand in the way of the same rung neither alone would change anything."""
    request = {"risk": Risk.HIGH, "max_cost_usd": dearest(2)}
    assert choose(**request).decision.without == {"risk": "small"}
    poor = choose(**(request | {"max_cost_usd": Decimal("0.003")}))
    assert isinstance(poor, NoRung)
    assert poor.reason.endswith("without risk it would be small, without money it would be large")
    both = ControlState(kills=frozenset({(SwitchKind.MODEL, "tiny"), (SwitchKind.PROVIDER, "one")}))
    assert choose(both).decision.without == {"switches": "small"}


def test_an_undecided_rule_says_what_would_be_without_it(desk):
    """A person sees what the rule holds up."""
    rule = '\n[[routing.rules]]\nname = "vip"\nwhen = \'segments.vip == "yes"\'\nstart = "C"\n'
    workflow = desk.with_files(**{"workflow.toml": desk.settings_text + rule})
    found = route(RouteRequest(TaskType.CLASSIFY, Risk.NORMAL, 20), workflow, desk.models, ControlState())
    assert found.undecided
    assert found.reason.endswith("; without rules it would be small")


def test_a_request_says_its_language():
    """As the segment does; undetermined where there is none."""
    request = RouteRequest(TaskType.CLASSIFY, Risk.NORMAL, 20)
    assert request.language == "und"
    assert replace(request, segments={"language": "de"}).language == "de"

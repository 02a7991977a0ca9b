from dataclasses import replace
from datetime import UTC
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from processors.control import ControlState
from processors.models import Model, Models, Prices, ProviderSettings
from processors.policy.money import worst_case
from processors.policy.recorded import as_json, from_json
from processors.policy.request import RouteRequest
from processors.policy.route import Choice, NoRung, route
from processors.workflow import compile_workflow
from schemas.control import Bundle, SwitchKind
from schemas.envelope import Spent
from schemas.job import DataClass, Risk, TaskType
from schemas.stages import Tier

NAMES = ("m0", "m1", "m2", "m3")
PROVIDERS = ("p0", "p1")

prices = st.one_of(st.none(), st.decimals(0, 100, places=2))
a_model = st.builds(
    Model,
    provider=st.sampled_from(PROVIDERS),
    id=st.just("x"),
    tier=st.sampled_from(Tier),
    prices=st.builds(Prices, input_usd=prices, output_usd=prices),
    max_output_tokens=st.integers(1, 1000),
)
some_providers = st.tuples(*(st.booleans() for _ in PROVIDERS)).map(
    lambda hosted: {
        name: ProviderSettings(base_url="http://x", self_hosted=own)
        for name, own in zip(PROVIDERS, hosted, strict=True)
    }
)
some_models = st.builds(
    Models, providers=some_providers, models=st.dictionaries(st.sampled_from(NAMES), a_model, min_size=1)
)
ladders = st.lists(st.sampled_from(NAMES), min_size=1, max_size=5).flatmap(
    lambda names: st.tuples(
        st.just(names), st.lists(st.sampled_from("ABC"), min_size=len(names), max_size=len(names)).map(sorted)
    )
)
controls = st.frozensets(
    st.one_of(
        st.tuples(st.just(SwitchKind.MODEL), st.sampled_from(NAMES)),
        st.tuples(st.just(SwitchKind.PROVIDER), st.sampled_from(PROVIDERS)),
    )
).map(lambda kills: ControlState(kills=kills))
amounts = st.decimals(0, 1, places=6)
requests = st.builds(
    RouteRequest,
    task=st.sampled_from(TaskType),
    risk=st.sampled_from(Risk),
    size=st.integers(0, 100_000),
    rung=st.integers(0, 6),
    max_latency_ms=st.one_of(st.none(), st.integers(1, 5000)),
    max_cost_usd=st.one_of(st.none(), amounts),
    spent=st.builds(Spent, nano_usd=st.integers(0, 10**9), unpriced=st.integers(0, 3)),
    tenant=st.text(max_size=10),
    segments=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    created_at=st.datetimes(timezones=st.just(UTC)),
    gains=st.lists(st.floats(-1, 1).map(lambda gain: round(gain, 6)), max_size=3).map(tuple),
    data=st.sampled_from(DataClass),
    seen_ms=st.dictionaries(st.sampled_from([f"v{i}" for i in range(5)]), st.floats(0, 6000)),
)
LIFTED = {
    "risk": {"risk": Risk.NORMAL},
    "data": {"data": DataClass.GENERAL},
    "money": {"max_cost_usd": None},
    "latency": {"max_latency_ms": None},
    "switches": {},
}
"""What a request is without each constraint."""


def _workflow(ladder):
    rungs = "".join(
        f'[[ladder]]\nvariant = "v{i}"\ntier = "{tier}"\nmodel = "{name}"\nprompt = "p"\n'
        for i, (name, tier) in enumerate(zip(*ladder, strict=True))
    )
    files = {"workflow.toml": f'task = "other"\nowner = "o"\n{rungs}', "prompts/p/user.md": "x"}
    return compile_workflow(Bundle(workflow="w", files=files))


def _worst(choice, request, workflow, models):
    return worst_case(request, workflow.settings.ladder[choice.rung], models, workflow)


@given(requests, ladders, some_models, controls)
def test_what_is_killed_or_unknown_is_never_chosen(request, ladder, models, control):
    """Whatever else holds, a choice stands open, is on the ladder, and is not below where the job stands."""
    workflow = _workflow(ladder)
    choice = route(request, workflow, models, control)
    if isinstance(choice, Choice):
        rung = workflow.settings.ladder[choice.rung]
        assert rung.model in models.models
        assert not control.killed(SwitchKind.MODEL, rung.model)
        assert not control.killed(SwitchKind.PROVIDER, models.models[rung.model].provider)
        assert choice.rung >= request.rung
        assert choice.decision.model == rung.model
        assert choice.decision.provider == models.models[rung.model].provider
        assert request.data is DataClass.GENERAL or models.providers[choice.decision.provider].self_hosted


@given(requests, ladders, some_models, controls)
def test_a_choice_never_costs_more_than_is_left(request, ladder, models, control):
    """Under a limit the worst case is known and fits."""
    workflow = _workflow(ladder)
    choice = route(request, workflow, models, control)
    if isinstance(choice, Choice) and request.max_cost_usd is not None:
        worst = _worst(choice, request, workflow, models)
        assert worst is not None
        assert worst <= request.max_cost_usd - request.spent.cost_usd


@given(requests, ladders, some_models, controls)
def test_the_same_inputs_give_the_same_decision(request, ladder, models, control):
    """The decision depends on nothing else."""
    assert route(request, _workflow(ladder), models, control) == route(request, _workflow(ladder), models, control)


@given(requests, ladders, some_models, controls, amounts)
def test_a_tighter_limit_never_opens_a_rung(request, ladder, models, control, less):
    """With less money there is no choice that more money did not offer, and none that could cost more."""
    workflow = _workflow(ladder)
    loose = route(request, workflow, models, control)
    limit = less if request.max_cost_usd is None else max(request.max_cost_usd - less, Decimal(0))
    tight = route(replace(request, max_cost_usd=limit), workflow, models, control)
    if isinstance(tight, Choice):
        assert isinstance(loose, Choice)
        before = _worst(loose, request, workflow, models)
        assert before is None or _worst(tight, request, workflow, models) <= before


@given(requests, ladders, some_models, controls)
def test_what_would_be_without_a_constraint_is_what_is_chosen_without_it(request, ladder, models, control):
    """Of every constraint that changed the choice, and of no other, the record says what it would have been."""
    workflow = _workflow(ladder)
    found = route(request, workflow, models, control)
    chosen = found.decision.variant if isinstance(found, Choice) else "none"
    without = {}
    for name, change in LIFTED.items():
        free = ControlState() if name == "switches" else control
        other = route(replace(request, **change), workflow, models, free)
        variant = other.decision.variant if isinstance(other, Choice) else "none"
        if variant != chosen:
            without[name] = variant
    if isinstance(found, Choice):
        assert found.decision.without == without
    else:
        assert all(f"without {name} it would be {variant}" in found.reason for name, variant in without.items())
        assert found.reason.count("it would be") == len(without)


@given(requests, ladders, some_models, controls)
def test_a_rung_that_is_too_slow_serves_only_where_none_is_fast_enough(request, ladder, models, control):
    """Beside a choice that was seen to be too slow there is none above that stands open, is paid for, and is fast."""
    workflow = _workflow(ladder)
    choice = route(request, workflow, models, control)
    if not isinstance(choice, Choice) or request.max_latency_ms is None:
        return
    fast = {name: ms for name, ms in request.seen_ms.items() if ms <= request.max_latency_ms}
    if request.seen_ms.get(choice.decision.variant, 0) > request.max_latency_ms:
        for i in range(choice.rung, len(workflow.settings.ladder)):
            above = route(replace(request, rung=i, max_latency_ms=None), workflow, models, control)
            if isinstance(above, Choice):
                variant = above.decision.variant
                assert variant in request.seen_ms
                assert variant not in fast


@given(requests, ladders, some_models, controls)
def test_over_budget_is_said_only_when_money_alone_stands_in_the_way(request, ladder, models, control):
    """Without a limit of cost nothing is over budget."""
    workflow = _workflow(ladder)
    found = route(request, workflow, models, control)
    if isinstance(found, NoRung) and found.over_budget:
        assert request.max_cost_usd is not None
        assert isinstance(route(replace(request, max_cost_usd=None), workflow, models, control), Choice)


@given(requests, ladders, some_models, controls, st.integers(-1, 1000))
def test_a_recorded_decision_can_be_made_again(request, ladder, models, control, version):
    """What was written down of the request leads to the same decision, without a look at it."""
    workflow = _workflow(ladder)
    again, seen = from_json(as_json(request, version))
    assert seen == version
    assert route(again, workflow, models, control) == route(request, workflow, models, control)

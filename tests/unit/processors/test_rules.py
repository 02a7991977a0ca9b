from datetime import UTC, datetime
from decimal import Decimal

import pytest

from processors.control import ControlState
from processors.lint import lint
from processors.policy.request import RouteRequest
from processors.policy.route import Choice, NoRung, route
from schemas.job import DataClass, Risk, TaskType


@pytest.fixture
def ruled(desk):
    """Give a function that adds rules to the workflow and routes a request through it."""

    def run(rules, **changes):
        workflow = desk.with_files(**{"workflow.toml": desk.settings_text + rules})
        fields = {"task": TaskType.CLASSIFY, "risk": Risk.NORMAL, "size": 20} | changes
        return route(RouteRequest(**fields), workflow, desk.models, ControlState())

    return run


def rule(name, when, **does):
    lines = "".join(
        f"{key} = {value!r}\n".replace("'", '"').replace("(", "[").replace(")", "]") for key, value in does.items()
    )
    return f"\n[[routing.rules]]\nname = \"{name}\"\nwhen = '{when}'\n{lines}"


def test_a_rule_says_where_a_job_starts(ruled):
    """Before the default policy, and the reason names the rule."""
    vip = rule("vip", '"vip" in segments', start="mid")
    choice = ruled(vip, segments={"vip": "yes"})
    assert (choice.decision.variant, choice.decision.reasons[0]) == ("mid", "rule vip starts at mid")
    assert ruled(vip).decision.variant == "small"


def test_a_rule_may_start_at_a_tier(ruled):
    """The first rung of that tier, whatever it is called."""
    assert ruled(rule("late", "hour >= 22", start="C"), created_at=datetime(2026, 1, 1, 23, tzinfo=UTC)).rung == 2


def test_the_first_rule_that_says_so_counts(ruled):
    """Rules are read in their order."""
    choice = ruled(rule("one", "true", start="B") + rule("two", "true", start="C"))
    assert choice.decision.variant == "mid"


def test_every_rule_may_close_rungs(ruled):
    """What any of them forbids is closed, and the decision says by which."""
    choice = ruled(rule("big", "size > 10", skip=("small",)) + rule("cheap", "true", only=("small", "large")))
    assert choice.decision.variant == "large"
    assert choice.decision.skipped == (
        "rung 0 small: rule big does not permit it",
        "rung 1 mid: rule cheap does not permit it",
    )


def test_limits_that_are_absent_are_asked_for_first(ruled):
    """A rule on latency or money says what holds for jobs that name none."""
    quick = rule("quick", "has(limits.latency_ms) && limits.latency_ms < 300.0", start="C")
    assert ruled(quick, max_latency_ms=200).rung == 2
    assert ruled(quick).rung == 0
    poor = rule("poor", "has(limits.cost_left_usd) && limits.cost_left_usd < 0.5", skip=("mid", "large"))
    assert ruled(poor, max_cost_usd=Decimal("0.4")).decision.variant == "small"


def test_a_rule_may_ask_for_data_class_language_and_what_the_rungs_took(ruled):
    """What is known of the job's data and of the models goes into an owner's conditions, too."""
    private = rule("private", 'data_class == "personal"', start="mid")
    assert ruled(private).decision.variant == "small"
    assert "without data it would be mid" in ruled(private, data=DataClass.PERSONAL).reason
    foreign = rule("foreign", '!(language in ["en", "und"])', start="large")
    assert ruled(foreign).decision.variant == "small"
    assert ruled(foreign, segments={"language": "de"}).decision.variant == "large"
    slow = rule("slow", '"small" in seen_ms && seen_ms["small"] > 500.0', skip=("small",))
    assert ruled(slow).decision.variant == "small"
    assert ruled(slow, seen_ms={"small": 501.0}).decision.variant == "mid"


def test_a_rule_that_can_t_be_decided_lets_nothing_through(ruled):
    """Unknown is no permission: the job goes to a person, with the rule's name and what was missing."""
    choice = ruled(rule("careless", 'segments.category == "fraud"', start="C"))
    assert isinstance(choice, NoRung)
    assert not choice.over_budget
    assert choice.reason.startswith("rule careless can't be decided:")
    assert "category" in choice.reason


def test_a_job_that_has_climbed_does_not_go_back(ruled):
    """A rule's start is where it begins, not where it falls to."""
    choice = ruled(rule("low", "true", start="A"), rung=1)
    assert isinstance(choice, Choice)
    assert choice.rung == 1


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (rule("a", '"x" in sgements', start="C"), "undeclared reference to 'sgements'"),
        (rule("a", "size", start="C"), "it gives int, not true or false"),
        (rule("a", "true", start="D"), "'D' is no variant and no tier"),
        (rule("a", "true", skip=("smal", "mid")), "'smal' is no variant of the ladder"),
        (rule("a", "true", skip=("small", "mid", "large")), "it leaves no rung of the ladder"),
        (rule("a", "true"), "it does nothing"),
        (rule("a", "true", start="C") * 2, "there are two rules 'a'"),
    ],
)
def test_what_is_wrong_with_a_rule_is_named_with_its_line(folder, files, models, rules, said):
    """Lint finds it before the version is released."""
    files["workflow.toml"] += rules
    found = [problem for problem in lint(folder(files), models) if said in problem.found]
    assert found
    text = (folder(files) / "workflow.toml").read_text().splitlines()
    assert all(
        text[problem.line - 1].split(" ")[0] in {"when", "start", "name", "[[routing.rules]]"} for problem in found
    )


def test_golden_cases_hold_or_the_version_is_no_release(folder, files, models):
    """A case that the policy does otherwise is an error with its line, and what was chosen instead and why."""
    files["workflow.toml"] += rule("vip", '"vip" in segments', start="mid")
    files["policy.cases.jsonl"] = (
        '{"id": "plain", "expect": "small"}\n'
        '{"id": "vip", "expect": "mid", "segments": {"vip": "yes"}}\n'
        '{"id": "dead", "expect": "large", "killed": ["model/tiny", "model/middle"]}\n'
        '{"id": "all dead", "expect": "none", "killed": ["provider/one", "provider/two"]}\n'
        '{"id": "slow", "expect": "mid", "max_latency_ms": 500, "seen_ms": {"small": 900}}\n'
        '{"id": "personal", "expect": "none", "data_class": "personal"}\n'
        '{"id": "foreign", "expect": "small", "language": "de"}\n'
        '{"id": "wrong", "expect": "large"}\n'
        '{"id": "what"}\n'
    )
    found = [problem for problem in lint(folder(files), models) if problem.file == "policy.cases.jsonl"]
    assert [(problem.line, problem.field) for problem in found] == [(8, "wrong"), (9, "")]
    assert "expected large, chosen is small: classify starts at tier A" in found[0].found

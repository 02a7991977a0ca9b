from random import Random

import pytest

from penstock.local.model_server.faults import Fault, FaultError, FaultPlan, parse, parse_all, parse_header


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("429", Fault(kind="429")),
        ("429:0.05", Fault(kind="429", rate=0.05)),
        ("429:0.05:2", Fault(kind="429", rate=0.05, value=2)),
        ("slow:0.01:10@local-small", Fault(kind="slow", rate=0.01, value=10, model="local-small")),
        ("503::7", Fault(kind="503", value=7)),
    ],
)
def test_a_fault_can_be_said_in_words(words, fault):
    """Kind, rate, value and model are read from one word."""
    assert parse(words) == fault


@pytest.mark.parametrize("words", ["", "502", "429:2", "slow:0.5:-1", "429:x", "429:1:2:3", "429:nan"])
def test_nonsense_is_refused_and_quoted(words):
    """An error repeats what was said."""
    with pytest.raises(FaultError, match=f"fault '{words}'"):
        parse(words)


def test_a_list_of_faults_may_mix_words_and_objects():
    """What `POST /admin/faults` takes."""
    assert parse_all(["500:0.5", {"kind": "429", "times": 3}]) == (
        Fault(kind="500", rate=0.5),
        Fault(kind="429", times=3),
    )


@pytest.mark.parametrize("wanted", [None, {"kind": "429"}, [{"kind": "429", "speed": 1}], [7]])
def test_a_list_that_is_none_is_refused(wanted):
    """Anything else is an error, not an empty list."""
    with pytest.raises(FaultError):
        parse_all(wanted)


def test_the_header_decides_alone():
    """A header names the fault of its call, and `none` exempts it from the faults in force."""
    plan = FaultPlan(Random(0), (Fault(kind="500"),))
    assert plan.draw("local-small", "slow:3") == parse_header("slow:3") == Fault(kind="slow", value=3)
    assert plan.draw("local-small", "none") is None
    assert plan.draw("local-small", None) == Fault(kind="500")


def test_rates_are_kept_and_repeatable():
    """About the share asked for is hit, and the same seed hits the same calls."""
    plans = [FaultPlan(Random(7), (parse("429:0.1"), parse("500:0.2"))) for _ in range(2)]
    first, second = (
        [fault.kind if fault else None for fault in (p.draw("m", None) for _ in range(4_000))] for p in plans
    )
    assert first == second
    assert first.count("429") / 4_000 == pytest.approx(0.1, abs=0.02)
    assert first.count("500") / 4_000 == pytest.approx(0.18, abs=0.02)


def test_a_fault_with_times_ends():
    """After that many hits the next fault has its turn."""
    plan = FaultPlan(Random(0), (Fault(kind="500", times=2), Fault(kind="429", model="local-mid")))
    kinds = [fault.kind if fault else None for fault in (plan.draw("local-mid", None) for _ in range(3))]
    assert kinds == ["500", "500", "429"]
    assert plan.draw("local-large", None) is None

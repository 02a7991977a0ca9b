import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.policy.conditions import ConditionError, Unknown, condition

KINDS = {"task": "string", "size": "int", "segments": "strings", "limits": "limits"}


def decide(text, **values):
    return condition(text, KINDS).decide({"task": "qa", "size": 1, "segments": {}, "limits": {}} | values)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ('task == "qa"', True),
        ('task == "classify"', False),
        ("size > 100", False),
        ('"vip" in segments', False),
        ("has(limits.latency_ms) && limits.latency_ms <= 500.0", False),
        ('task in ["qa", "route"] && !("x" in segments)', True),
    ],
)
def test_a_condition_holds_or_not(text, holds):
    """The result is a boolean of ours, never an object that is always true."""
    assert decide(text) is holds


def test_what_is_absent_makes_it_unknown():
    """Neither yes nor no, and the reason names the key."""
    found = decide('segments.category == "fraud"')
    assert isinstance(found, Unknown)
    assert "category" in found.reason
    assert decide('segments.category == "fraud"', segments={"category": "fraud"}) is True


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("taskk == 'qa'", "undeclared reference to 'taskk'"),
        ("task + 1 == 2", "no matching overload"),
        ("size", "it gives int, not true or false"),
        ("1 +", "Syntax error"),
        ("", "Syntax error|mismatched"),
    ],
)
def test_what_can_t_be_decided_is_found_when_it_is_compiled(text, said):
    """Syntax, names and types are known before any job is there."""
    with pytest.raises(ConditionError, match=said):
        condition(text, KINDS)


def test_a_condition_that_never_ends_is_unknown():
    """The library's limit of steps stops it; no job waits for it."""
    hundred = "[" + ",".join(map(str, range(100))) + "]"
    found = decide(f"{hundred}.all(a, {hundred}.all(b, {hundred}.all(c, a + b + c < 1000)))")
    assert isinstance(found, Unknown)


@given(st.text(max_size=40))
def test_any_text_compiles_or_is_refused(text):
    """Nothing but ConditionError is raised, and what compiles gives yes, no or unknown."""
    try:
        compiled = condition(text, KINDS)
    except ConditionError:
        return
    assert isinstance(compiled.decide({"task": "", "size": 0, "segments": {}, "limits": {}}), bool | Unknown)

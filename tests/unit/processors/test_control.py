from datetime import UTC, datetime

from processors.control import ControlState
from schemas.control import Control, ControlKind, SwitchKind

AT = datetime(2026, 11, 21, tzinfo=UTC)


def _control(kind, target, name, version=""):
    return Control(kind=kind, target=target, name=name, version=version, who="me", why="test", at=AT)


def test_an_activation_replaces_the_active_version():
    """The newest activation of a workflow counts; others stay."""
    state = ControlState()
    for i, (name, version) in enumerate((("a", "1"), ("b", "1"), ("a", "2"))):
        state = state.after(_control(ControlKind.ACTIVATE, SwitchKind.WORKFLOW, name, version), i)
    assert (state.version, state.active) == (2, {"a": "2", "b": "1"})
    assert {name: control.version for name, control in state.activations.items()} == state.active


def test_a_freeze_holds_until_it_is_lifted():
    """Who froze a workflow is known until somebody lifts it; others are free."""
    frozen = ControlState().after(_control(ControlKind.FREEZE, SwitchKind.WORKFLOW, "a"), 0)
    assert frozen.freezes["a"].who == "me"
    assert "b" not in frozen.freezes
    assert frozen.after(_control(ControlKind.UNFREEZE, SwitchKind.WORKFLOW, "a"), 1).freezes == {}


def test_a_kill_holds_until_it_is_lifted():
    """A switch stops what it names, of its kind only."""
    killed = ControlState().after(_control(ControlKind.KILL, SwitchKind.MODEL, "m"), 0)
    assert killed.killed(SwitchKind.MODEL, "m")
    assert not killed.killed(SwitchKind.PROVIDER, "m")
    assert not killed.after(_control(ControlKind.UNKILL, SwitchKind.MODEL, "m"), 1).killed(SwitchKind.MODEL, "m")


def test_what_is_not_known_here_changes_nothing_but_the_version():
    """A record of a later version of Penstock leaves the switches as they are."""
    state = ControlState(version=3, active={"a": "1"})
    assert state.after(_control(ControlKind.UNKNOWN, SwitchKind.UNKNOWN, "x"), 4) == ControlState(4, {"a": "1"})


def test_the_state_before_is_left_as_it_was():
    """A fold makes a new state; readers of the old one see no change."""
    before = ControlState(version=0, active={"a": "1"})
    before.after(_control(ControlKind.ACTIVATE, SwitchKind.WORKFLOW, "a", "2"), 1)
    assert before == ControlState(version=0, active={"a": "1"})

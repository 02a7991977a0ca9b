from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processors.control import ControlState
from processors.releases import KEPT, Act, ReleaseRefused, activation, freeze, rollback
from schemas.control import Bundle, ControlKind

ACT = Act("me", "because", datetime(2026, 11, 21, tzinfo=UTC))
NAME = "sorting"


@pytest.fixture
def shop(models, files):
    """Three versions on the registry, and the state as switches change it."""
    return Shop(models, files)


class Shop:
    """Versions by their number, and what is in force."""

    def __init__(self, models, files):
        self.models = models
        self.files = files
        self.published = {}
        self.state = ControlState()
        self.versions = [self.publish(f"Text {n}: {{{{ input.text }}}}") for n in range(3)]

    def publish(self, prompt, **changes):
        kept = self.files | {"prompts/small/user.md": prompt} | changes
        bundle = Bundle(workflow=NAME, files=kept, commit="c0ffee")
        self.published[bundle.version] = bundle
        return bundle.version

    def activate(self, version, **more):
        return self._throw(activation(NAME, version, self.published, self.state, self.models, ACT, **more))

    def roll_back(self, to=None):
        return self._throw(rollback(NAME, to, self.published, self.state, self.models, ACT))

    def freeze(self, *, thaw=False):
        return self._throw(freeze(NAME, self.state, ACT, thaw=thaw))

    def _throw(self, control):
        if control is not None:
            self.state = self.state.after(control, self.state.version + 1)
        return control

    @property
    def active(self):
        return self.state.active.get(NAME)


def test_an_activation_says_who_why_when_and_from_which_commit(shop):
    """Everything that an audit asks for is in the record."""
    control = shop.activate(shop.versions[0])
    assert (control.kind, control.version, control.commit) == (ControlKind.ACTIVATE, shop.versions[0], "c0ffee")
    assert (control.who, control.why, control.at) == (ACT.who, ACT.why, ACT.at)
    assert shop.activate(shop.versions[0]) is None


def test_a_version_can_be_named_by_its_first_digits(shop):
    """As long as they fit one version only."""
    assert shop.activate(shop.versions[1][:7]).version == shop.versions[1]
    with pytest.raises(ReleaseRefused, match=r"no version 'zz'.*known here"):
        shop.activate("zz")
    with pytest.raises(ReleaseRefused, match="no version ''"):
        shop.activate("")


def test_a_rollback_goes_back_to_the_last_known_good_version(shop):
    """Step by step; a version that was rolled back from is none to go back to."""
    first, second, third = shop.versions
    for version in (first, second, third):
        shop.activate(version)
    shop.roll_back()
    assert shop.active == second
    shop.activate(third)
    shop.roll_back()
    shop.roll_back()
    assert shop.active == first
    with pytest.raises(ReleaseRefused, match="no other version was in force before it"):
        shop.roll_back()


def test_a_rollback_to_a_version_that_never_was_in_force_is_refused(shop):
    """What could be meant is named."""
    first, second, third = shop.versions
    shop.activate(first)
    shop.activate(second)
    with pytest.raises(ReleaseRefused, match=f"before this one were in force: {first}"):
        shop.roll_back(third)
    assert shop.roll_back(first[:8]).version == first


def test_without_a_version_in_force_there_is_nothing_to_go_back_from(shop):
    """Said as such."""
    with pytest.raises(ReleaseRefused, match="has no version in force"):
        shop.roll_back()


def test_a_frozen_workflow_takes_no_new_version_and_can_be_rolled_back(shop):
    """The refusal names who froze it and why."""
    first, second, third = shop.versions
    shop.activate(first)
    shop.activate(second)
    assert shop.freeze().kind is ControlKind.FREEZE
    assert shop.freeze() is None
    with pytest.raises(ReleaseRefused, match=r"frozen by me at 2026-11-21 00:00 UTC \(because\)"):
        shop.activate(third)
    shop.roll_back()
    assert shop.active == first
    shop.freeze(thaw=True)
    shop.activate(third)
    assert shop.active == third


def test_a_version_that_names_a_missing_model_is_refused(shop):
    """With file, line and mend, before anything is changed."""
    broken = shop.publish("x", **{"workflow.toml": shop.files["workflow.toml"].replace('"tiny"', '"gone"')})
    with pytest.raises(ReleaseRefused, match=r"can't run here: workflow.toml:\d+ ladder.0.model: 'gone' is not in"):
        shop.activate(broken)


def test_a_template_with_an_unknown_variable_is_refused(shop):
    """It would fail for every job."""
    with pytest.raises(ReleaseRefused, match=r"prompts/small/user\.md:1 nobody"):
        shop.activate(shop.publish("{{ nobody }}"))


def test_a_version_that_refuses_what_the_one_in_force_takes_needs_insisting(shop):
    """Who sends jobs must not find out by rejections."""
    shop.activate(shop.versions[0])
    stricter = shop.files["input.schema.json"].replace('"required": ["text"]', '"required": ["text", "n"]')
    narrow = shop.publish("x", **{"input.schema.json": stricter})
    with pytest.raises(ReleaseRefused, match=r'refuses an input that .* takes: .*"n" is a required property'):
        shop.activate(narrow)
    assert shop.activate(narrow, anyway=True).version == narrow


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # they are only read
@given(data=st.data())
def test_whatever_happened_a_rollback_leads_to_a_version_that_was_good(data, models, files):
    """A plain reference keeps the stack of versions in force; the newest record alone must know the same."""
    shop = Shop(models, files)
    stack = []
    for _ in range(data.draw(st.integers(1, 12))):
        if len(stack) > 1 and data.draw(st.booleans()):
            shop.roll_back()
            stack.pop()
        else:
            version = data.draw(st.sampled_from(shop.versions))
            shop.activate(version)
            if not stack or stack[-1] != version:
                stack = [one for one in stack if one != version] + [version]
                stack = stack[-(KEPT + 1) :]
        assert shop.active == stack[-1]
        assert list(shop.state.activations[NAME].good) == stack[-2::-1]

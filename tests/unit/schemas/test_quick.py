"""Value classes that are made quickly are the value classes that they were."""

from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from schemas.quick import quick


@dataclass(frozen=True, slots=True)
class Plain:
    """A class of values."""

    a: int
    b: str = "b"
    c: list[int] = field(default_factory=list)
    d: int | None = None


@quick
@dataclass(frozen=True, slots=True)
class Quick:
    """The same."""

    a: int
    b: str = "b"
    c: list[int] = field(default_factory=list)
    d: int | None = None


@pytest.mark.parametrize(("given", "named"), [((1,), {}), ((1, "x"), {}), ((1,), {"d": 3}), ((), {"a": 1, "c": [2]})])
def test_its_fields_are_what_they_would_be(given, named):
    """Positions, names and defaults mean what dataclasses say."""
    made, plain = Quick(*given, **named), Plain(*given, **named)
    assert (made.a, made.b, made.c, made.d) == (plain.a, plain.b, plain.c, plain.d)


def test_each_has_a_default_of_its_own():
    """What a factory makes is not shared."""
    assert Quick(1).c is not Quick(1).c


def test_it_stays_a_frozen_value():
    """Equal by its fields, changed by replacement only."""
    one = Quick(1, "x")
    assert one == Quick(1, "x") != Quick(2, "x")
    assert replace(one, a=2) == Quick(2, "x")
    with pytest.raises(FrozenInstanceError):
        one.a = 2


@pytest.mark.parametrize(("given", "named"), [((), {}), ((1, 2, 3, 4, 5), {}), ((1,), {"e": 1})])
def test_what_is_missing_or_strange_is_refused(given, named):
    """As by any function."""
    with pytest.raises(TypeError):
        Quick(*given, **named)

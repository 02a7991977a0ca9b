import pytest

from processors.evaluators.calibration import Calibration, Map, log_odds, logistic
from processors.policy.gate import Passage, rule
from processors.settings import Gate

EVIDENCE = {
    "n": 10,
    "correct": 5,
    "source": "made up",
    "fitted_on": "2026-01-01",
    "held_out_ece": 0.1,
    "accept_at": 0.85,
    "accepted": 1,
    "accepted_correct": 1,
    "lower_bound": 0.05,
}


@pytest.mark.parametrize(
    ("confidence", "middle", "higher", "passage"),
    [
        (0.85, "climb", False, Passage.ACCEPT),
        (1.0, "review", True, Passage.ACCEPT),
        (0.8499, "climb", True, Passage.CLIMB),
        (0.8499, "climb", False, Passage.ESCALATE),
        (0.8499, "review", True, Passage.ESCALATE),
        (0.72, "review", True, Passage.ESCALATE),
        (0.7199, "review", True, Passage.CLIMB),
        (0.0, "climb", True, Passage.CLIMB),
        (0.0, "climb", False, Passage.ESCALATE),
        ("no logprobs", "climb", True, Passage.CLIMB),
        ("no logprobs", "review", False, Passage.ESCALATE),
    ],
)
def test_the_gate(confidence, middle, higher, passage):
    """Accept, climb or a person: by threshold, by what the middle does, by whether a rung is left."""
    assert rule(Gate(middle=middle), confidence, higher=higher).passage is passage


def test_an_unknown_confidence_gives_its_reason():
    """Unknown is never read as enough, even where everything is accepted."""
    ruling = rule(Gate(accept_at=0, climb_below=0), "no calibration", higher=False)
    assert ruling.passage is Passage.ESCALATE
    assert "confidence unknown: no calibration" in ruling.reason


def _map(**fields):
    return Map(variant="v", model="m", variant_sha256="0" * 64, evidence=EVIDENCE, **fields)


def test_a_platt_map_is_a_logistic_of_the_log_odds():
    """Slope 1 and intercept 0 change nothing; both ends stay finite."""
    same = _map(method="platt", slope=1, intercept=0)
    assert same(0.3) == pytest.approx(0.3)
    assert 0 <= same(0.0) < same(1.0) <= 1
    assert _map(method="platt", slope=2, intercept=-1)(0.9) == pytest.approx(logistic(2 * log_odds(0.9) - 1))


def test_an_isotonic_map_runs_through_its_points_and_is_flat_beyond():
    """Between points the line, outside the ends' values."""
    fitted = _map(method="isotonic", x=(0.2, 0.6, 0.8), y=(0.1, 0.5, 0.9))
    assert [fitted(raw) for raw in (0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 1.0)] == pytest.approx(
        [0.1, 0.1, 0.3, 0.5, 0.7, 0.9, 0.9]
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "platt"},
        {"method": "platt", "slope": -1, "intercept": 0},
        {"method": "isotonic"},
        {"method": "isotonic", "x": (0.1, 0.2), "y": (0.1,)},
        {"method": "isotonic", "x": (0.2, 0.1), "y": (0.1, 0.2)},
        {"method": "isotonic", "x": (0.1, 0.2), "y": (0.3, 0.2)},
    ],
)
def test_a_map_that_could_mislead_is_refused(fields):
    """A falling or incomplete map is no calibration."""
    with pytest.raises(ValueError, match="needs"):
        _map(**fields)


def test_the_map_is_found_by_variant_and_model():
    """Who answered counts, not who was asked."""
    calibration = Calibration(maps=(_map(method="platt", slope=1, intercept=0),))
    assert calibration.map_for("v", "m") is calibration.maps[0]
    assert calibration.map_for("v", "other") is None

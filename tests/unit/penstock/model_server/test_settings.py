from pathlib import Path
from random import Random

import pytest

from penstock.local.model_server.faults import Fault
from penstock.local.model_server.latency import Latency, LatencyError
from penstock.local.model_server.settings import Settings, read_settings


def test_the_command_line_is_read():
    """Every setting has its flag; the API key comes from the environment and is not shown."""
    settings = read_settings(
        [
            *("--data", "d", "--port", "81", "--fault", "429:0.5", "--fault", "slow"),
            *("--latency-ms", "local-mid=7", "--constant-latency-ms", "50"),
        ],
        {"PENSTOCK_MODEL_SERVER_API_KEY": "hidden"},
    )
    assert settings == Settings(
        data=Path("d"),
        port=81,
        faults=(Fault(kind="429", rate=0.5), Fault(kind="slow")),
        latency_ms={"local-mid": 7.0},
        constant_latency_ms=50.0,
        api_key="hidden",
    )
    assert "hidden" not in repr(settings)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "1"], "--data"),
        (["--data", "d", "--fault", "teapot"], "teapot"),
        (["--data", "d", "--latency-ms", "gpt=5"], "local-small, local-mid, local-large"),
        (["--data", "d", "--constant-latency-ms", "-1"], "'-1' is not a number of milliseconds"),
    ],
)
def test_a_wrong_flag_is_explained(arguments, said, capsys):
    """The process ends with status 2 and says what was found and expected."""
    with pytest.raises(SystemExit, match="2"):
        read_settings(arguments, {})
    assert said in capsys.readouterr().err


def test_latency_jitters_mildly_around_its_figure():
    """Repeatable for a seed, centred on the figure, never far from it."""
    latency = Latency(Random(1), {"local-small": 20.0})
    drawn = sorted(latency.draw_s("local-small") for _ in range(999))
    assert drawn[499] == pytest.approx(0.020, rel=0.05)
    assert 0.010 < drawn[9] < drawn[989] < 0.040
    assert Latency(Random(1), {"local-small": 20.0}).draw_s("local-small") in drawn


def test_a_constant_latency_is_constant_for_all():
    """The benchmark setting has no jitter; null ends it."""
    latency = Latency(Random(1), {"local-small": 20.0})
    latency.set({"constant_ms": 50})
    assert {latency.draw_s("local-small") for _ in range(9)} == {0.050}
    latency.set({"constant_ms": None, "models": {"local-small": 0}})
    assert latency.draw_s("local-small") == 0.0


@pytest.mark.parametrize("wanted", [{"models": {"gpt": 5}}, {"constant_ms": -1}, {"fast": True}, 7])
def test_a_latency_that_can_not_be_is_refused(wanted):
    """Unknown models, fields and negative times change nothing."""
    latency = Latency(Random(1), {"local-small": 20.0})
    with pytest.raises(LatencyError):
        latency.set(wanted)
    assert latency.shown() == {"constant_ms": None, "models": {"local-small": 20.0}}

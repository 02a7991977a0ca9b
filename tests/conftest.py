import fcntl
import os
import time
from pathlib import Path

import pytest
from hypothesis import settings

from penstock.local.model_server.__main__ import load_models
from penstock.local.stack import embedded

# Properties are about behaviour: how long an example takes says something about the machine, not about the code.
settings.register_profile("penstock", deadline=None)
settings.load_profile("penstock")

_MODELS = Path(__file__).parents[1] / ".penstock" / "cache" / "models"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    """Keep the settings of whoever runs the tests out of them."""
    for name in os.environ:
        if name.upper().startswith("PENSTOCK_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def eventually():
    """Give a function that waits until a condition holds, and fails if it never does."""

    def wait(condition, limit_s=30.0):
        until = time.monotonic() + limit_s
        while not (found := condition()):
            assert time.monotonic() < until, f"still not so after {limit_s:g} s"
            time.sleep(0.02)
        return found

    return wait


@pytest.fixture(scope="session")
def models_folder():
    """Give the folder of the local models: trained once for many runs, and named by their content."""
    _MODELS.mkdir(parents=True, exist_ok=True)
    with (_MODELS / "lock").open("w") as lock:  # of several test processes one trains
        fcntl.flock(lock, fcntl.LOCK_EX)
        load_models(_MODELS)
    return _MODELS


@pytest.fixture(scope="session")
def models(models_folder):
    """Give the local models."""
    return load_models(models_folder)


@pytest.fixture(scope="session")
def stack(tmp_path_factory, models_folder):
    """Give the one embedded stack of the whole run: real Kafka, warehouse and model server on free ports.

    Whoever kills or freezes a component of it leaves it running as it was found.
    """
    folder = tmp_path_factory.mktemp("stack")
    (folder / "model_server").mkdir()
    (folder / "model_server" / "models").symlink_to(models_folder)
    with embedded(folder) as running:
        yield running

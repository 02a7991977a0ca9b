from pathlib import Path

import pytest

from penstock.local.model_server.__main__ import load_models
from penstock.local.model_server.models import Model


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory) -> Path:
    """One folder for the whole session, so that the models are trained once."""
    return tmp_path_factory.getbasetemp() / "local-models"


@pytest.fixture(scope="session")
def models(models_folder) -> dict[str, Model]:
    return load_models(models_folder)

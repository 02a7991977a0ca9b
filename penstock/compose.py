"""The composition root, first half: settings become models and workflows."""

import contextlib
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.settings import Settings
from processors.bundle import read_bundle
from processors.models import Models, load_models
from processors.workflow import compile_workflow
from schemas.control import Bundle

if TYPE_CHECKING:
    from streams.sources import Source


def models(settings: Settings) -> Models:
    """The project's models; the local model server is where the settings say.

    Raises:
        ModelsError: models.toml is missing or wrong.
    """
    environ = {"PENSTOCK_MODEL_SERVER_URL": settings.model_server_url}
    return load_models(settings.project / "models.toml", environ=environ)


def sources(settings: Settings) -> "tuple[Source, ...]":
    """The topics of others whose records become jobs."""
    from schemas.job_map import JobMap  # noqa: PLC0415 -- most commands need neither
    from streams.sources import Source  # noqa: PLC0415 -- as above

    return tuple(Source(topic, JobMap(**one.model_dump())) for topic, one in settings.source.items())


def workflow_folders(settings: Settings) -> list[Path]:
    """The project's workflows, by name."""
    return sorted(path.parent for path in (settings.project / "workflows").glob("*/workflow.toml"))


def bundles(settings: Settings) -> list[Bundle]:
    """The project's workflows as they are in its folder now.

    Raises:
        WorkflowError: one of them does not compile.
    """
    commit = _git_commit(settings.project)
    found = [read_bundle(folder, commit) for folder in workflow_folders(settings)]
    for bundle in found:
        compile_workflow(bundle)
    return found


def _git_commit(project: Path) -> str | None:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        asked = subprocess.run(  # noqa: S603 -- fixed arguments
            ("git", "-C", str(project), "rev-parse", "HEAD"),  # noqa: S607 -- whichever git the user has
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
        return asked.stdout.strip()
    return None

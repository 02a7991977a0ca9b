"""The composition root, first half: settings become models and workflows."""

import contextlib
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from penstock.lines import connection
from penstock.settings import Settings
from processors.bundle import read_bundle
from processors.models import Models, load_models
from processors.workflow import compile_workflow
from schemas.control import Bundle, Control, ControlKind, SwitchKind
from streams.kafka.operate import publish_bundle, publish_control


def models(settings: Settings) -> Models:
    """The project's models; the local model server is where the settings say.

    Raises:
        ModelsError: models.toml is missing or wrong.
    """
    environ = {"PENSTOCK_MODEL_SERVER_URL": settings.model_server_url}
    return load_models(settings.project / "models.toml", environ=environ)


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


def publish_workflows(settings: Settings, who: str, why: str, unless: Callable[[str], bool]) -> list[Bundle]:
    """Put the project's workflows on the registry and activate them, but those that `unless` names; returns these.

    Raises:
        WorkflowError: one of them does not compile.
        BrokerAway: the broker did not acknowledge it.
    """
    link, published = connection(settings), []
    for bundle in bundles(settings):
        if unless(bundle.workflow):
            continue
        publish_bundle(link, bundle)
        switch = Control(
            kind=ControlKind.ACTIVATE,
            target=SwitchKind.WORKFLOW,
            name=bundle.workflow,
            version=bundle.version,
            who=who,
            why=why,
            at=datetime.now(UTC),
        )
        publish_control(link, switch)
        published.append(bundle)
    return published

"""The workflows of a project, as commands name them."""

from pathlib import Path

from penstock import compose
from penstock.cli.codes import Exit, Failed
from penstock.cli.session import Session


def workflow_folder(session: Session, name: str) -> Path:
    """The folder of one of the project's workflows.

    Raises:
        Failed: the project has none of that name.
    """
    known = {folder.name: folder for folder in compose.workflow_folders(session.settings)}
    if name not in known:
        raise Failed(Exit.USAGE, f"{name!r} is no workflow of this project; there are {', '.join(known) or 'none'}")
    return known[name]

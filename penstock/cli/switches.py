"""kill, unkill, supersede: what an operator stops, and which context is the newest. Each is one record."""

import getpass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final

import typer

from penstock import compose, wanted
from penstock.cli.codes import Exit, Failed
from penstock.cli.output import AsJson, print_json, say
from penstock.cli.session import Session, session_of
from processors.tools.definitions import FOLDER
from schemas.control import Control, ControlKind, SwitchKind
from schemas.side import SnapshotVersion
from streams.kafka.operate import publish_control, publish_snapshot_version


class Kind(StrEnum):
    """What the command line can stop: every kind of switch but the unknown one."""

    MODEL = SwitchKind.MODEL.value
    PROVIDER = SwitchKind.PROVIDER.value
    WORKFLOW = SwitchKind.WORKFLOW.value
    TENANT = SwitchKind.TENANT.value
    CHECK = SwitchKind.CHECK.value
    TOOL = SwitchKind.TOOL.value


What = Annotated[Kind, typer.Argument(help="What to stop.")]
Named = Annotated[str, typer.Argument(help="Its name, as in models.toml, in a workflow or in jobs.")]
Anyway = Annotated[bool, typer.Option("--anyway", help="Even if this project has nothing of that name.")]
TIMES: Final = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"]
Why = Annotated[str, typer.Option("--why", help="The reason, for the record.", prompt="why")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(kill)
    app.command()(unkill)
    app.command()(supersede)


def kill(
    context: typer.Context, *, kind: What, name: Named, why: Why, anyway: Anyway = False, as_json: AsJson = False
) -> None:
    """Stop a model, a provider, a tool, a check, a workflow or a tenant: no new call starts anywhere, within a second.

    Jobs go to another rung where there is one, else they wait: nothing is lost.
    """
    session = session_of(context)
    if not anyway:
        _require_known(session, kind, name)
    _switch(session, ControlKind.KILL, kind, name, why, as_json=as_json)


def unkill(context: typer.Context, *, kind: What, name: Named, why: Why, as_json: AsJson = False) -> None:
    """Let it run again."""
    _switch(session_of(context), ControlKind.UNKILL, kind, name, why, as_json=as_json)


def supersede(
    context: typer.Context,
    *,
    snapshot: Annotated[str, typer.Argument(help="The snapshot's id, as jobs name it.")],
    version: Annotated[str, typer.Argument(help="Its newest version.")],
    at: Annotated[
        datetime | None, typer.Option("--at", help="When that was taken, in UTC.", show_default="now", formats=TIMES)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say which version of a context is the newest: no answer leaves any more that rests on an earlier one."""
    session = session_of(context)
    taken = datetime.now(UTC) if at is None else at.replace(tzinfo=UTC)
    newest = SnapshotVersion(snapshot_id=snapshot, version=version, at=taken)
    connection = session.connection()
    wanted.ensure(session.settings, connection)
    publish_snapshot_version(connection, newest)
    if as_json:
        print_json(newest)
        return
    say(f"{snapshot} is at version {version} since {taken:%Y-%m-%d %H:%M:%S} UTC: earlier ones end as stale_context")


def _require_known(session: Session, kind: Kind, name: str) -> None:
    """A misspelt kill switch would stop nothing, and nobody would notice."""
    models, folders = compose.models(session.settings), compose.workflow_folders(session.settings)
    known: dict[str, list[str]] = {
        SwitchKind.MODEL: list(models.models),
        SwitchKind.PROVIDER: list(models.providers),
        SwitchKind.WORKFLOW: [folder.name for folder in folders],
        SwitchKind.TOOL: sorted({tool.stem for folder in folders for tool in folder.glob(f"{FOLDER}*.toml")}),
    }
    names = known.get(kind.value)
    if names is not None and name not in names:
        there = ", ".join(sorted(names)) or "none"
        said = f"this project has no {kind.value} {name!r}; there are {there}. Nothing was stopped; --anyway insists"
        raise Failed(Exit.USAGE, said)


def _switch(session: Session, kind: ControlKind, target: Kind, name: str, why: str, *, as_json: bool) -> None:
    control = Control(
        kind=kind,
        target=SwitchKind(target.value),
        name=name,
        who=getpass.getuser(),
        why=why,
        at=datetime.now(UTC),
    )
    connection = session.connection()
    wanted.ensure(session.settings, connection)
    version = publish_control(connection, control)
    if as_json:
        print_json({"control_version": version, **control.model_dump(mode="json")})
        return
    done = "stopped" if kind is ControlKind.KILL else "free again"
    say(f"{target.value} {name} is {done} (control version {version}, by {control.who}: {why})")

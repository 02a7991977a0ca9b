"""publish, versions, diff, activate, rollback, freeze, unfreeze: which version of a workflow is in force."""

import difflib
import getpass
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from penstock import compose, releases, wanted
from penstock.cli.codes import Exit, Failed
from penstock.cli.output import AsJson, console, print_json, say
from penstock.cli.project import workflow_folder
from penstock.cli.session import Session, session_of
from processors.bundle import read_bundle
from processors.control import ControlState
from processors.releases import Act, activation, chosen, freeze, rollback
from schemas.control import Bundle, Control
from streams.kafka.switchboard import Switchboard

FOLDER = "folder"
"""How the workflow as it lies in the project's folder is named where a version is expected."""

Name = Annotated[str, typer.Argument(help="The workflow.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for the record.", prompt="why")]
Anyway = Annotated[bool, typer.Option("--anyway", help="Even if it refuses inputs that the version in force takes.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (publish, versions, diff, activate, rollback_, freeze_, unfreeze):
        app.command(command.__name__.rstrip("_"))(command)


def publish(
    context: typer.Context,
    *,
    name: Annotated[str | None, typer.Argument(help="One workflow; by default all of the project.")] = None,
    activate: Annotated[bool, typer.Option("--activate", help="Put it in force as well.")] = False,
    anyway: Anyway = False,
    why: Annotated[str, typer.Option("--why", help="The reason, for the record.")] = "published from the project",
    as_json: AsJson = False,
) -> None:
    """Put workflows on the registry as they are in the project's folder: each content is one version, for ever."""
    session = session_of(context)
    folders = compose.workflow_folders(session.settings) if name is None else [workflow_folder(session, name)]
    names = [folder.name for folder in folders]
    _ready(session)
    found = releases.publish(session.settings, names, _act(why), activate=activate, anyway=anyway)
    if as_json:
        print_json({"published": [_published_json(one) for one in found]})
        return
    for one in found:
        say(_published_line(one))
    if not found:
        say("this project has no workflows: each is a folder under workflows/ with a workflow.toml")


def _published_json(one: releases.Published) -> dict[str, Any]:
    return {
        "workflow": one.bundle.workflow,
        "version": one.bundle.version,
        "commit": one.bundle.commit,
        "new": one.new,
        "active": one.active,
        "control_version": one.control_version,
    }


def _published_line(one: releases.Published) -> str:
    named = f"{one.bundle.workflow}@{one.bundle.version}"
    done = "is published" if one.new else "was published before"
    if one.active:
        return f"{named} {done} and in force ({len(one.bundle.files)} files)"
    return f"{named} {done}; put it in force with: penstock activate {one.bundle.workflow} {one.bundle.version}"


def versions(context: typer.Context, *, name: Name, as_json: AsJson = False) -> None:
    """Show the versions of a workflow, the newest first: which is in force, and which a rollback goes back to."""
    board = _looked(session_of(context))
    published = _known(board, name)
    rows = [_version_json(bundle, board.state) for bundle in reversed(published.values())]
    frozen = board.state.freezes.get(name)
    if as_json:
        print_json({"workflow": name, "frozen": frozen and _record_json(frozen), "versions": rows})
        return
    console.print(_versions_table(name, rows))
    if (current := board.state.activations.get(name)) is not None:
        say(f"in force since {current.at:%Y-%m-%d %H:%M:%S} UTC, by {current.who}: {current.why}")
    if frozen is not None:
        say(f"frozen since {frozen.at:%Y-%m-%d %H:%M:%S} UTC, by {frozen.who}: {frozen.why}")


def _version_json(bundle: Bundle, state: ControlState) -> dict[str, Any]:
    current = state.activations.get(bundle.workflow)
    good = current.good if current is not None else ()
    return {
        "version": bundle.version,
        "active": current is not None and current.version == bundle.version,
        "last_known_good": bool(good) and good[0] == bundle.version,
        "was_active": bundle.version in good,
        "commit": bundle.commit,
        "files": len(bundle.files),
    }


def _versions_table(name: str, rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", title=escape(name), title_justify="left")
    for column in ("version", "state", "commit", "files"):
        table.add_column(column, justify="right" if column == "files" else "left")
    for row in rows:
        state = "[green]in force[/]" if row["active"] else "was in force" if row["was_active"] else ""
        state = "[cyan]last known good[/]" if row["last_known_good"] else state
        table.add_row(row["version"], state, (row["commit"] or "")[:12], str(row["files"]))
    return table


def diff(
    context: typer.Context,
    *,
    name: Name,
    old: Annotated[str | None, typer.Argument(help="A version; by default the one in force.")] = None,
    new: Annotated[str, typer.Argument(help=f"A version, or {FOLDER}: as it lies in the project.")] = FOLDER,
    as_json: AsJson = False,
) -> None:
    """Show what differs between two versions, file by file."""
    session = session_of(context)
    board = _looked(session)
    published = _known(board, name)
    in_force = board.state.active.get(name)
    if old is None and in_force is None:
        raise Failed(Exit.BAD, f"{name} has no version in force; name the version to compare with")
    before = _version(session, name, old or in_force or "", published)
    after = _version(session, name, new, published)
    lines = {path: _file_diff(path, before, after) for path in sorted({*before.files, *after.files})}
    changed = {path: text for path, text in lines.items() if text}
    if as_json:
        print_json({"workflow": name, "from": before.version, "to": after.version, "files": changed})
        return
    say(f"{name}: from {before.version} to {after.version}" + ("" if changed else ": nothing differs"))
    for text in changed.values():
        for line in text:
            colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "default")
            console.print(f"[{colour}]{escape(line)}[/]", soft_wrap=True, highlight=False)


def _version(session: Session, name: str, version: str, published: dict[str, Bundle]) -> Bundle:
    if version != FOLDER:
        return chosen(name, version, published)
    return read_bundle(workflow_folder(session, name))


def _file_diff(path: str, before: Bundle, after: Bundle) -> list[str]:
    texts = (before.files.get(path, "").splitlines(), after.files.get(path, "").splitlines())
    return list(difflib.unified_diff(*texts, f"{before.version}/{path}", f"{after.version}/{path}", lineterm=""))


def activate(
    context: typer.Context,
    *,
    name: Name,
    version: Annotated[str, typer.Argument(help="A published version, or its first digits.")],
    why: Why,
    anyway: Anyway = False,
    as_json: AsJson = False,
) -> None:
    """Put a published version in force. Running workers take it up at once; jobs under way keep theirs."""
    session = session_of(context)

    def decide(board: Switchboard) -> Control | None:
        known = compose.models(session.settings)
        return activation(name, version, _known(board, name), board.state, known, _act(why), anyway=anyway)

    _switch(session, name, decide, as_json=as_json, done="is in force", nothing="is in force already")


def rollback_(
    context: typer.Context,
    *,
    name: Name,
    to: Annotated[str | None, typer.Option("--to", help="A version that was in force; default: the last good.")] = None,
    why: Why,
    as_json: AsJson = False,
) -> None:
    """Go back to the last known good version, or to another that was in force. A freeze does not forbid it."""
    session = session_of(context)

    def decide(board: Switchboard) -> Control | None:
        return rollback(name, to, _known(board, name), board.state, compose.models(session.settings), _act(why))

    _switch(session, name, decide, as_json=as_json, done="is in force again", nothing="")


def freeze_(context: typer.Context, *, name: Name, why: Why, as_json: AsJson = False) -> None:
    """Forbid new versions of a workflow; to roll back stays possible."""

    def decide(board: Switchboard) -> Control | None:
        _known(board, name)
        return freeze(name, board.state, _act(why))

    _switch(session_of(context), name, decide, as_json=as_json, done="is frozen", nothing="is frozen already")


def unfreeze(context: typer.Context, *, name: Name, why: Why, as_json: AsJson = False) -> None:
    """Allow new versions again."""

    def decide(board: Switchboard) -> Control | None:
        return freeze(name, board.state, _act(why), thaw=True)

    _switch(session_of(context), name, decide, as_json=as_json, done="is free again", nothing="is not frozen")


def _switch(
    session: Session,
    name: str,
    decide: Callable[[Switchboard], Control | None],
    *,
    as_json: bool,
    done: str,
    nothing: str,
) -> None:
    """Take the switchboard, decide on what is there, write it down."""
    _ready(session)
    with Switchboard(session.connection()) as board:
        control = decide(board)
        version = board.write(switches=[control]) if control is not None else board.state.version
        in_force = board.state.active.get(name)
    if as_json:
        record = _record_json(control) if control is not None else None
        print_json({"workflow": name, "active": in_force, "control_version": version, "record": record})
        return
    named = f"{name}@{in_force}" if in_force else name
    by = f" (control version {version}, by {control.who}: {control.why})" if control is not None else ""
    say(f"{named} {done if control is not None else nothing}{by}")


def _record_json(control: Control) -> dict[str, Any]:
    return control.model_dump(mode="json")


def _looked(session: Session) -> Switchboard:
    _ready(session)
    board = Switchboard(session.connection())
    board.look()
    return board


def _ready(session: Session) -> None:
    wanted.ensure(session.settings, session.connection())


def _known(board: Switchboard, name: str) -> dict[str, Bundle]:
    published = board.published(name)
    if not published:
        raise Failed(Exit.BAD, f"no version of {name!r} is on the registry; publish it: penstock publish {name}")
    return published


def _act(why: str) -> Act:
    return Act(getpass.getuser(), why, datetime.now(UTC))

"""Releases: which version of a workflow may come into force, and to which one a rollback goes back. Pure.

What is decided here rests on the control state and the registry as they are at one moment; whoever writes the decision
down must be the only one who writes then (`streams.kafka.switchboard`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from processors.control import ControlState
from processors.lint import lint_bundle
from processors.models import Models
from processors.problems import ProcessorsError, errors_of
from processors.sample import sample
from processors.toml_text import nearest
from processors.workflow import compile_workflow
from schemas.control import Bundle, Control, ControlKind, SwitchKind

KEPT = 10
"""Versions that were in force before and that a rollback can still go back to."""

Published = Mapping[str, Bundle]
"""The versions of one workflow that are on the registry, oldest first."""


class ReleaseRefused(ProcessorsError):  # noqa: N818 -- names what is the case
    """This version does not come into force; nothing was changed. The text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Act:
    """Who switches, why, and when."""

    who: str
    why: str
    at: datetime


def activation(
    name: str,
    version: str,
    published: Published,
    state: ControlState,
    models: Models,
    act: Act,
    *,
    anyway: bool = False,
) -> Control | None:
    """The record that puts a version in force; None if it is in force already.

    Args:
        name: the workflow.
        version: the version, or the first digits of one.
        published: the workflow's versions.
        state: what is switched now.
        models: the project's models.
        act: who, why, when.
        anyway: put it in force although it refuses inputs that the version in force takes.

    Raises:
        ReleaseRefused: the workflow is frozen, there is no such version, it does not fit the models, or it is narrower.
    """
    bundle = chosen(name, version, published)
    now = state.active.get(name)
    if bundle.version == now:
        return None
    require_thawed(name, state)
    require_fit(bundle, models)
    if now and now in published and not anyway and (why := narrower(published[now], bundle)):
        raise ReleaseRefused(f"{name}@{bundle.version} {why}; nothing was changed. --anyway insists")
    good = state.activations[name].good if name in state.activations else ()
    before = tuple(one for one in (now, *good) if one and one != bundle.version)
    return _activate(bundle, before[:KEPT], act)


def rollback(
    name: str, version: str | None, published: Published, state: ControlState, models: Models, act: Act
) -> Control:
    """The record that goes back to a version, by default to the last known good one. A freeze does not forbid it.

    The version that is left is no longer one to go back to.

    Raises:
        ReleaseRefused: there is nothing to go back to, or that version never was in force.
    """
    current = state.activations.get(name)
    if current is None:
        raise ReleaseRefused(f"workflow {name} has no version in force; there is nothing to go back from")
    if not current.good:
        said = "no other version was in force before it"
        raise ReleaseRefused(f"{name}@{current.version} can't be rolled back: {said}; activate another version instead")
    wanted = current.good[0] if version is None else _of_good(name, version, current.good)
    if wanted not in published:
        raise ReleaseRefused(f"{name}@{wanted} was in force before, but is not on the registry any more")
    require_fit(published[wanted], models)
    left = current.good[current.good.index(wanted) + 1 :]
    return _activate(published[wanted], left, act)


def _activate(bundle: Bundle, good: tuple[str, ...], act: Act) -> Control:
    return Control(
        kind=ControlKind.ACTIVATE,
        target=SwitchKind.WORKFLOW,
        name=bundle.workflow,
        version=bundle.version,
        who=act.who,
        why=act.why,
        at=act.at,
        commit=bundle.commit or "",
        good=good,
    )


def freeze(name: str, state: ControlState, act: Act, *, thaw: bool = False) -> Control | None:
    """The record that forbids new versions of a workflow, or allows them again; None if that is so already."""
    if (name in state.freezes) is not thaw:
        return None
    kind = ControlKind.UNFREEZE if thaw else ControlKind.FREEZE
    return Control(kind=kind, target=SwitchKind.WORKFLOW, name=name, who=act.who, why=act.why, at=act.at)


def chosen(name: str, version: str, published: Published) -> Bundle:
    """The one version that begins with these digits.

    Raises:
        ReleaseRefused: there is none, or more than one.
    """
    found = [bundle for known, bundle in published.items() if version and known.startswith(version)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ReleaseRefused(f"{version!r} could be {', '.join(one.version for one in found)}; give more digits")
    if not published:
        raise ReleaseRefused(
            f"workflow {name} has no version on the registry; publish it first: penstock publish {name}"
        )
    raise ReleaseRefused(f"{name} has no version {version!r} on the registry; {nearest(version, published)}")


def _of_good(name: str, version: str, good: tuple[str, ...]) -> str:
    found = [known for known in good if version and known.startswith(version)]
    if len(found) != 1:
        raise ReleaseRefused(f"{name} can't go back to {version!r}; before this one were in force: {', '.join(good)}")
    return found[0]


def require_thawed(name: str, state: ControlState) -> None:
    """Refuse a frozen workflow.

    Raises:
        ReleaseRefused: it is frozen.
    """
    if (frozen := state.freezes.get(name)) is not None:
        said = f"frozen by {frozen.who} at {frozen.at:%Y-%m-%d %H:%M} UTC ({frozen.why})"
        raise ReleaseRefused(
            f"workflow {name} is {said}; nothing was changed. Ask them, then: penstock unfreeze {name}"
        )


def require_fit(bundle: Bundle, models: Models) -> None:
    """Refuse a version that can't run with these models.

    Raises:
        ReleaseRefused: it does not compile, or names a model that is not there.
    """
    if wrong := errors_of(lint_bundle(bundle, models)):
        raise ReleaseRefused(f"{bundle.workflow}@{bundle.version} can't run here: {wrong[0]}")


def narrower(old: Bundle, new: Bundle) -> str | None:
    """How a new version breaks those who send jobs: an input that the old one takes and the new one refuses.

    Tried with what the old schema allows at most and at least, so that it finds new required fields, fields that are
    gone and other types; not each bound that got tighter.
    """
    before, after = compile_workflow(old), compile_workflow(new)
    for required_only in (False, True):
        value = sample(before.input_schema.definition, required_only=required_only)
        if before.input_schema.violations(value):
            continue  # the sample is no input of the old one either: it proves nothing
        if said := after.input_schema.violations(value):
            return f"refuses an input that {old.version} takes: {said[0]}"
    return None

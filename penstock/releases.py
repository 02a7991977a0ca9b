"""Releases as a person or a starting worker makes them: from the project's folder to the registry and into force."""

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from penstock.compose import bundles, models
from penstock.lines import connection
from penstock.settings import Settings
from processors.models import Models
from processors.releases import Act, activation, require_fit
from schemas.control import Bundle, Control
from streams.errors import SlotTaken
from streams.kafka.switchboard import Switchboard

TRIES: Final = 7
AGAIN_S: Final = 0.5
"""Half of the seconds that who was overtaken first waits at most."""


@dataclass(frozen=True, slots=True)
class Published:
    """One version as it was published; `version` of control when it was put in force too, else None."""

    bundle: Bundle
    new: bool
    active: bool
    control_version: int | None


def publish(
    settings: Settings, names: Iterable[str], act: Act, *, activate: bool, anyway: bool = False
) -> list[Published]:
    """Put workflows of the project on the registry as they are in its folder, and in force if wanted; all or none.

    Raises:
        WorkflowError: one of them does not compile.
        ReleaseRefused: one of them can't run here, is frozen, or would break who sends it jobs.
        SlotTaken: somebody else is switching at the same moment.
        BrokerAway: the broker does not answer.
    """
    wanted, known = frozenset(names), models(settings)
    found = [bundle for bundle in bundles(settings) if bundle.workflow in wanted]
    for bundle in found:
        require_fit(bundle, known)
    with Switchboard(connection(settings)) as board:
        return _publish(board, found, known, act, activate=activate, anyway=anyway)


def _publish(
    board: Switchboard, found: list[Bundle], known: Models, act: Act, *, activate: bool, anyway: bool
) -> list[Published]:
    new = [bundle for bundle in found if bundle.version not in board.published(bundle.workflow)]
    switches: list[Control] = []
    for bundle in found if activate else ():
        there = {**board.published(bundle.workflow), bundle.version: bundle}
        switch = activation(bundle.workflow, bundle.version, there, board.state, known, act, anyway=anyway)
        switches += [switch] if switch else []
    version = board.write(new, switches) if new or switches else None
    switched = {switch.name for switch in switches}
    return [
        Published(
            bundle,
            new=bundle in new,
            active=board.state.active.get(bundle.workflow) == bundle.version,
            control_version=version if bundle.workflow in switched else None,
        )
        for bundle in found
    ]


def activate_missing(settings: Settings, act: Act, *, has_version: Callable[[str], bool]) -> list[Published]:
    """Publish and activate those workflows of the project that have no version in force, as a starting worker does.

    Several may start at once, and whoever takes the switchboard takes it from another. So each waits for a chance time
    that doubles with every try, and looks again: once one has done it, nothing is missing for the others.

    Raises:
        as `publish` does.
    """
    for turn in range(TRIES):
        if turn:
            time.sleep(random.uniform(0, AGAIN_S * 2**turn))  # noqa: S311 -- only so that they do not meet again
        missing = [bundle for bundle in bundles(settings) if not has_version(bundle.workflow)]
        if not missing:
            return []
        try:
            with Switchboard(connection(settings)) as board:
                still = [bundle for bundle in missing if bundle.workflow not in board.state.active]
                return _publish(board, still, models(settings), act, activate=True, anyway=False)
        except SlotTaken:
            if turn == TRIES - 1:
                raise
    raise AssertionError("unreachable: the last try returns or raises")

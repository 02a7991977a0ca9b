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

TRIES: Final = 10
AGAIN_S: Final = (0.1, 1.0)
"""Between these many seconds, by chance, before who was overtaken looks again."""


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

    Several may start at once: who was overtaken looks again, and finds nothing missing any more.

    Raises:
        as `publish` does.
    """
    for left in reversed(range(TRIES)):
        missing = [bundle.workflow for bundle in bundles(settings) if not has_version(bundle.workflow)]
        if not missing:
            return []
        try:
            return publish(settings, missing, act, activate=True)
        except SlotTaken:
            if not left:
                raise
            time.sleep(random.uniform(*AGAIN_S))  # noqa: S311 -- only so that two do not meet again
    raise AssertionError("unreachable: the last try returns or raises")

"""The processes of a pipeline: watched, and started again when they end. One for each part, or some parts together."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from lab.children import STEP_S, Child, LabError
from lab.site import Site

from chaos.plan import PARTS

START_S: Final = 240.0
MOST_DEATHS: Final = 10
"""So many processes may end by themselves before the run is given up."""


class Crew:
    """One process of each part; the parts `together` share one, and what strikes one of them strikes all.

    Whoever takes a process away on purpose puts another in its place.
    """

    def __init__(self, site: Site, together: Sequence[str] = ()) -> None:
        self._site = site
        self._together = tuple(part for part in PARTS if part in together)
        self._members: dict[str, Child] = {}
        self._complete = False
        self.deaths: list[str] = []
        """What ended by itself: none should."""
        self.meanwhile: Callable[[], object] = lambda: None
        """What goes on while something is waited for."""

    def start(self) -> None:
        """Start all at once and wait until they are ready."""
        first_parts = dict.fromkeys(self.parts_with(part)[0] for part in PARTS)
        for part in first_parts:
            self.launch(part)
        self.all_ready()
        self._complete = True

    def parts_with(self, part: str) -> tuple[str, ...]:
        """All parts of the process that has this one."""
        return self._together if part in self._together else (part,)

    def launch(self, stage: str, **told: str) -> Child:
        """Start a process in a stage's place, with these variables of the environment, and don't wait."""
        parts = self.parts_with(stage)
        self._members[parts[0]] = self._site.launch(*parts, **told)
        return self._members[parts[0]]

    def ready(self, stage: str) -> Child:
        """Wait until the stage's process is ready; return it."""
        member = self.parts_with(stage)[0]
        self.until(lambda: '"ready"' in self._members[member].said(), f"{stage} is ready", START_S)
        return self._members[member]

    def all_ready(self) -> None:
        """Wait until no process is starting: one that finds no broker at its start says so and ends, as it should."""
        for stage in tuple(self._members):
            self.ready(stage)

    def dismiss(self, stage: str) -> Child:
        """Take a process out of sight: what becomes of it is the caller's business."""
        self.ready(stage)
        return self._members.pop(self.parts_with(stage)[0])

    def until(self, condition: Callable[[], object], what: str, limit_s: float) -> None:
        """Wait for a condition; who ends meanwhile is noted and replaced.

        Raises:
            LabError: it takes longer than `limit_s` seconds, or too many processes end by themselves.
        """
        give_up = time.monotonic() + limit_s
        while not condition():
            self.tend()
            if time.monotonic() > give_up:
                logs = "".join(f"\n--- {one.log.name}\n{one.said()[-1500:]}" for one in self._members.values())
                raise LabError(f"after {limit_s:g} s still not so: {what}{logs}")
            if self._complete:
                self._site.ends.read()  # which waits a moment
                self.meanwhile()
            else:
                time.sleep(STEP_S)

    def tend(self) -> None:
        """Note and replace who has ended.

        Raises:
            LabError: that happens again and again.
        """
        for stage, child in list(self._members.items()):
            if (code := child.exit_code()) is None:
                continue
            last = (child.said().strip().splitlines() or ["no word"])[-1]
            self.deaths.append(f"{stage} ended with {code}: {last[-300:]}")
            if len(self.deaths) > MOST_DEATHS:
                raise LabError("processes end by themselves again and again:\n" + "\n".join(self.deaths))
            self.launch(stage)

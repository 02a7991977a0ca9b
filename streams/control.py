"""What this process knows of the control history: folded in order, with activations held until their bundle is here."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from processors.control import ControlState
from schemas.control import Bundle, Control, ControlKind
from schemas.side import SnapshotVersion

log = structlog.get_logger(__name__)


class Shelf(Protocol):
    """Where bundles are kept, as far as control needs it."""

    def add(self, bundle: Bundle) -> None:
        """Keep a bundle."""
        ...


@dataclass
class ControlHistory:
    """Folds control records and bundles in the order in which they arrive; with `logs`, says so."""

    shelf: Shelf
    state: ControlState = field(default_factory=ControlState)
    heard: Callable[[int, Control], None] | None = None
    logs: bool = True
    _bundles: set[str] = field(default_factory=set)
    _held: list[tuple[int, Control]] = field(default_factory=list)

    def on_bundle(self, bundle: Bundle) -> None:
        """Keep the bundle, then apply the activations that waited for it."""
        self._bundles.add(bundle.key)
        self.shelf.add(bundle)
        ready = [held for held in self._held if _key(held[1]) in self._bundles]
        self._held = [held for held in self._held if held not in ready]
        for version, control in ready:
            self._apply(version, control)

    def on_snapshot(self, told: SnapshotVersion) -> None:
        """Note the newest version of a context."""
        self.state.snapshots.learn(told)

    def on_control(self, version: int, control: Control) -> None:
        """Apply a record; an activation whose bundle is not visible yet waits, a kill switch never does."""
        if self.heard is not None:
            self.heard(version, control)
        if control.kind is ControlKind.ACTIVATE:
            self._held = [held for held in self._held if held[1].key != control.key]
            if _key(control) not in self._bundles:
                self._log("activation waits for its bundle", workflow=control.name, version=control.version)
                self._held.append((version, control))
                return
        self._apply(version, control)

    def _apply(self, version: int, control: Control) -> None:
        self.state = self.state.after(control, max(version, self.state.version))
        self._log("control", kind=control.kind, target=control.target, name=control.name, control_version=version)

    def _log(self, event: str, **more: object) -> None:
        if self.logs:
            log.info(event, **more)


def _key(control: Control) -> str:
    return f"{control.name}@{control.version}"

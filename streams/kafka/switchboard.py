"""The switchboard: control and registry, read to their end and then written by one hand at a time.

Whoever takes it shuts out whoever had it: what a late one decided on a state that is no longer the newest can't be
committed. Bundles and switches go in one transaction, so nothing is half done.
"""

import time
from collections.abc import Iterable
from typing import Self

from processors.control import ControlState
from schemas.avro import Codec
from schemas.control import Bundle, Control
from streams.control import ControlHistory
from streams.kafka.connection import Connection
from streams.kafka.desk import Desk
from streams.kafka.follower import Follower
from streams.records import Record
from streams.topics import CONTROL, REGISTRY

NAME = "switchboard"
SEEN_S = 10.0
"""Seconds after which what was written is no longer looked for: it may be unreadable to this version."""


class Switchboard:
    """Take it with `with`: from then on its state is the newest, and nobody else can have written meanwhile.

    Taking it raises BrokerAway when the broker does not answer.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._clear()
        self._control = Codec("Control", Control)
        self._bundle = Codec("Bundle", Bundle)

    def __enter__(self) -> Self:
        # 1. shut out whoever else would write; 2. only then read what is there
        self._desk = Desk(self._connection, NAME, "penstock versions").__enter__()
        self.look()
        return self

    def __exit__(self, *_: object) -> None:
        self._desk.close()

    def look(self) -> None:
        """Read what there is, without taking it: to know, not to write.

        Raises:
            BrokerAway: the topics could not be read to their end.
        """
        self._clear()
        follower = Follower(self._connection, self._on_control, self._history.on_bundle, brief=True)
        try:
            follower.start()
        finally:
            follower.close()

    def _look_for(self, bundles: tuple[Bundle, ...], switches: tuple[Control, ...]) -> None:
        """Look until what was written is there: a commit is answered before its marks are in the logs."""
        give_up = time.monotonic() + SEEN_S
        while True:
            self.look()
            seen = [control for _, control in self._switches]
            there = all(one.version in self._bundles.get(one.workflow, {}) for one in bundles)
            if (there and all(one in seen for one in switches)) or time.monotonic() > give_up:
                return

    def _clear(self) -> None:
        self._bundles: dict[str, dict[str, Bundle]] = {}
        self._history = ControlHistory(self, logs=False)
        self._switches: list[tuple[int, Control]] = []

    def _on_control(self, version: int, control: Control) -> None:
        self._history.on_control(version, control)
        self._switches.append((version, control))

    @property
    def state(self) -> ControlState:
        """What is switched."""
        return self._history.state

    def published(self, workflow: str) -> dict[str, Bundle]:
        """The versions of a workflow that are on the registry, oldest first."""
        return dict(self._bundles.get(workflow, {}))

    def add(self, bundle: Bundle) -> None:
        """Keep a bundle of the registry (`streams.control.Shelf`); the first of a version counts."""
        self._bundles.setdefault(bundle.workflow, {}).setdefault(bundle.version, bundle)

    def write(self, bundles: Iterable[Bundle] = (), switches: Iterable[Control] = ()) -> int:
        """Write bundles and switches, all of them or none; return the control version of the last switch.

        Raises:
            SlotTaken: another hand has taken the switchboard; nothing was written.
            BrokerAway: the broker did not acknowledge it.
        """
        bundles, switches = tuple(bundles), tuple(switches)
        registered = [Record(REGISTRY.name, one.key.encode(), self._bundle.encode(one)) for one in bundles]
        switched = [Record(CONTROL.name, one.key.encode(), self._control.encode(one)) for one in switches]
        self._desk.commit([*registered, *switched])
        self._look_for(bundles, switches)  # nobody reports where they lie (see `refusals`)
        return max((version for version, found in self._switches if found in switches), default=self.state.version)

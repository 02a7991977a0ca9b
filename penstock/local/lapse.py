"""Ends what the cluster believes of a broker that has ended, before its successor starts.

The controller that comes up with an ended broker's data takes it for alive until its session has passed, and lets
nobody in under its name. Meanwhile the successor would serve by what was true before, then lose the lead of every
partition, and get it back. A Kafka that ends a transaction in a moment without leaders leaves out its markers
(KAFKA-20734): what was aborted would become visible with the next commit. So the controller runs alone first, with a
session so short that it fences the dead broker at once. Then a broker may have a session that no busy machine exceeds.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from penstock.local.broker import Broker, command, write_properties
from penstock.local.errors import StackStartError
from penstock.local.ports import HOST, free_port
from penstock.local.process import Child

LIMIT_S: Final = 120.0
SETTLED_S: Final = 3.0
"""Seconds after which a controller that has fenced nobody has nobody to fence: six of its sessions."""
ACTIVE: Final = "Activated periodic tasks"
FENCED: Final = "Fencing broker 1 "
_STOP_S: Final = 20.0
_TIMES: Final = 2


def has_run(broker: Broker) -> bool:
    """Whether a broker has run on this data: however it ended, the controller still takes it for alive."""
    return (broker.storage / "recovery-point-offset-checkpoint").exists()


def let_lapse(broker: Broker) -> None:
    """Run the controller alone, on the broker's own settings file, until nobody is registered as alive.

    Raises:
        StackStartError: it ended by itself, or became no controller within two minutes.
    """
    controller = f"{HOST}:{free_port()}"
    properties = {
        "process.roles": "controller",
        "node.id": "1",
        "listeners": f"CONTROLLER://{controller}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"1@{controller}",
        "log.dirs": str(broker.storage),
        "broker.session.timeout.ms": "500",
        "broker.heartbeat.interval.ms": "100",
    }
    write_properties(broker.config, properties)
    log = broker.data / "lapse.log"
    log.unlink(missing_ok=True)
    alone = Child(command(broker), directory=broker.data, log=log)
    try:
        if _fences(alone):
            _wait_until_written(alone, broker.storage / "__cluster_metadata-0")
    finally:
        alone.stop(_STOP_S)


def _fences(alone: Child) -> bool:
    """Wait until it fences the dead broker; False if there is none to fence."""
    active_at: float | None = None
    for now in _moments(alone):
        if alone.said(FENCED):
            return True
        if active_at is None and alone.said(ACTIVE):
            active_at = now
        if active_at is not None and now - active_at > SETTLED_S:
            return False
    return False


def _wait_until_written(alone: Child, metadata: Path) -> None:
    """It says so before it writes it. It writes something every half second: after two of these the fence is there."""
    size, grown = _bytes_in(metadata), 0
    for _ in _moments(alone):
        now = _bytes_in(metadata)
        grown, size = grown + (now > size), now
        if grown >= _TIMES:
            return


def _bytes_in(metadata: Path) -> int:
    return sum(path.stat().st_size for path in metadata.glob("*.log"))


def _moments(alone: Child) -> Iterator[float]:
    """The time, over and over, as long as there is hope."""
    until = time.monotonic() + LIMIT_S
    while (now := time.monotonic()) < until and alone.exit_code() is None:
        yield now
        time.sleep(0.05)
    said = alone.log.read_text(errors="replace").strip()[-2000:]
    raise StackStartError(f"the controller of the data in {alone.log.parent} does not come up: {said}")

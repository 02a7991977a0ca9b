"""Slots: a stable number per process on a machine, so that a restart fences its predecessor at once."""

import fcntl
import os
from pathlib import Path
from typing import IO

from streams.errors import SlotTaken

MAX_SLOTS = 256


class Slot:
    """A number held by a locked file until the process ends; the kernel lets go of it at kill -9 too."""

    def __init__(self, number: int, held: IO[str]) -> None:
        self.number = number
        self._held = held

    def close(self) -> None:
        """Give the number back."""
        self._held.close()


def take_slot(folder: Path, name: str, count: int = MAX_SLOTS, only: int | None = None) -> Slot:
    """The lowest free number of a name on this machine that is below `count`, or the `only` one that will do.

    Raises:
        SlotTaken: every number that will do is held.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count) if only is None else (only,):
        held = (folder / f"{name}.{number}.lock").open("a")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            held.close()
            continue
        held.truncate(0)
        held.write(f"{os.getpid()}\n")
        held.flush()
        return Slot(number, held)
    which = f"all {count} slots" if only is None else f"slot {only}"
    raise SlotTaken(
        f"{which} of {name} in {folder} are held by running processes. End one, or choose with max_slots or slot"
    )

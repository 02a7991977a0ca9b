"""Knows how much memory is left for the stack, in a container too."""

import contextlib
from pathlib import Path
from typing import Final

import psutil

from penstock.local.errors import MemoryTooLowError

_CGROUP: Final = Path("/sys/fs/cgroup")
_MIB: Final = 1024 * 1024


def available_mb() -> int:
    """Return what can still be used, MiB: the machine's, or the container's if that is less."""
    available = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):  # no cgroup of version 2, or one without a limit ("max")
        limit = int((_CGROUP / "memory.max").read_text())
        available = min(available, limit - int((_CGROUP / "memory.current").read_text()))
    return available // _MIB


def check(needed_mb: int, available: int | None = None) -> str | None:
    """Compare what is left with what the stack needs.

    Args:
        needed_mb: What the stack needs, MiB.
        available: What is left, MiB; default: asked of the machine.

    Returns:
        A warning if it may get tight, else None.

    Raises:
        MemoryTooLowError: not even half of it is there.
    """
    left = available_mb() if available is None else available
    if left >= needed_mb:
        return None
    sentence = f"{left} MiB of memory are available and the stack needs about {needed_mb} MiB"
    if left < needed_mb // 2:
        raise MemoryTooLowError(f"{sentence}; end other programs, or give the machine or container more")
    return f"{sentence}: it may be slow, or the system may kill a part of it"

"""Knows the log files of the stack's processes: keeping them small, and quoting their ends."""

import shutil
from pathlib import Path
from typing import Final

LIMIT_BYTES: Final = 10 * 1024 * 1024
KEPT: Final = 2

_TAIL_BYTES: Final = 16 * 1024


def rotate(path: Path, limit: int = LIMIT_BYTES) -> bool:
    """Move a log's content to `<name>.1` (and that to `<name>.2`) once it exceeds `limit` bytes; say whether it did.

    The file is copied and emptied, not renamed: its writer keeps it open and appends.
    """
    if not path.is_file() or path.stat().st_size <= limit:
        return False
    for number in range(KEPT, 1, -1):
        older, newer = path.with_name(f"{path.name}.{number}"), path.with_name(f"{path.name}.{number - 1}")
        if newer.exists():
            newer.replace(older)
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    with path.open("r+b") as file:
        file.truncate()
    return True


def tail(path: Path, lines: int = 20) -> tuple[str, ...]:
    """Return the last lines of a log; none if there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return tuple(file.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ()


def display(path: Path) -> str:
    """Show a path as short as it can be from the working directory."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)

"""The claim store: values too large to travel, as files named by their hash. Written once, never changed, aged out.

A folder on this machine, or a file system that all machines share. Everything here blocks: call it from a thread.
"""

import contextlib
import hashlib
import itertools
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.base import sha256_hex
from streams.errors import ClaimAway

_NAME: Final = 64
"""Characters of a claim's file name: its sha256 in hex."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of the store: its hash, its size in bytes, and when it was last written, in seconds since the epoch."""

    sha256: str
    size: int
    written_at: float


class ClaimStore:
    """Files in two levels of folders: `ab/abcdef…`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, sha256: str) -> Path:
        """Where the value of this hash lies, or would."""
        return self.folder / sha256[:2] / sha256

    def put(self, value: bytes) -> str:
        """Keep a value, on the disk when this returns; its sha256. What is there already is written anew, and young.

        Raises:
            OSError: it could not be written; nothing half-written bears the name.
        """
        sha256 = sha256_hex(value)
        path = self.path(sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.parent / f".{sha256}.{secrets.token_hex(8)}"
        try:
            with half.open("xb") as file:
                file.write(value)
                file.flush()
                os.fsync(file.fileno())
            half.replace(path)
        except BaseException:
            half.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
        return sha256

    def get(self, sha256: str, size: int) -> bytes:
        """The value of this hash.

        Raises:
            ClaimAway: there is no such file, it can't be read, or it holds something else.
        """
        path = self.path(sha256)
        try:
            value = path.read_bytes()
        except FileNotFoundError as error:
            there = "the store's folder is there" if self.folder.is_dir() else "the store's folder is not there either"
            raise ClaimAway(f"{path} is missing ({there})") from error
        except OSError as error:
            raise ClaimAway(f"{path} can't be read: {error.strerror or error}") from error
        found = hashlib.sha256(value).hexdigest()
        if found != sha256:
            raise ClaimAway(f"{path} is not what it was: {len(value)} bytes with sha256 {found}, expected {size} bytes")
        return value

    def old(self, older_than_s: float) -> Iterator[Kept]:
        """What was written longer ago than so many seconds, left-overs of a write that never ended included."""
        until = time.time() - older_than_s
        for path in itertools.chain(self.folder.glob("??/*"), self.folder.glob("??/.*")):
            with contextlib.suppress(FileNotFoundError):
                found = path.stat()
                if found.st_mtime < until and len(path.name.lstrip(".").partition(".")[0]) == _NAME:
                    yield Kept(path.name, found.st_size, found.st_mtime)

    def remove(self, kept: Kept) -> bool:
        """Remove a file, unless it was written again since it was found old."""
        path = self.folder / kept.sha256.lstrip(".")[:2] / kept.sha256
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime <= kept.written_at:
                path.unlink()
                return True
        return False


def _sync_folder(folder: Path) -> None:
    """Have the new name survive a loss of power, where the file system can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)

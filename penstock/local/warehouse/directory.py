"""The directory that one process owns: who owns it, how it is laid out, and what the engine is told about itself.

DIR/owner.lock     locked while a process owns the directory, and who that is
DIR/config/        the engine's configuration, written anew at every start
DIR/engine/        the engine's own files: never touched from outside
"""

import fcntl
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Self
from xml.sax.saxutils import escape

import psutil

from penstock.local.warehouse.errors import DirectoryBusyError, WarehouseStartError

PLACEHOLDER_DATABASE: Final = "_files"
"""Where the engine puts the database in which table names are file names, so that `default` can be an ordinary one."""

# Everything but reading and writing files, addresses, other servers, Python objects' owners and the process itself.
_GRANTS: Final = (
    "SHOW, SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE DICTIONARY, CREATE FUNCTION, "
    "DROP, UNDROP TABLE, TRUNCATE, OPTIMIZE, KILL QUERY, SYSTEM MERGES, SYSTEM TTL MERGES, SYSTEM VIEWS, SYSTEM FLUSH, "
    "SYSTEM DROP CACHE, SYSTEM RELOAD DICTIONARY, SYSTEM WAIT LOADING PARTS, dictGet, INTROSPECTION"
)


@dataclass(frozen=True, slots=True)
class OwnedDirectory:
    """A directory that this process owns until it ends or calls `release`."""

    path: Path
    lock: IO[str]

    @property
    def engine(self) -> Path:
        """The engine's own directory."""
        return self.path / "engine"

    @property
    def config(self) -> Path:
        """The engine's configuration file."""
        return self.path / "config" / "config.xml"

    @classmethod
    def claim(cls, path: Path, *, max_memory: int) -> Self:
        """Own the directory and lay it out.

        Args:
            path: Made if it is missing.
            max_memory: What the engine may allocate, bytes.

        Raises:
            DirectoryBusyError: another process owns it.
            WarehouseStartError: it can't be made or written to.
        """
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = (path / "owner.lock").open("a+")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise DirectoryBusyError(path, lock.read().strip() or "which did not say who it is") from None
            owned = cls(path, lock)
            owned.say("starting")
            _lay_out(owned, max_memory)
        except OSError as error:
            raise WarehouseStartError(f"can't write to the directory {path}: {error}") from error
        return owned

    def say(self, doing: str) -> None:
        """Tell whoever finds the directory owned what its owner is and does."""
        self.lock.truncate(0)
        self.lock.write(f"pid {os.getpid()}, {doing}\n")
        self.lock.flush()

    def release(self) -> None:
        """Let others own it."""
        self.lock.close()


def _lay_out(owned: OwnedDirectory, max_memory: int) -> None:
    metadata = owned.engine / "metadata"
    metadata.mkdir(parents=True, exist_ok=True)
    default = metadata / "default.sql"
    if not default.exists():
        # As a server has it. The engine's own default would be a view of the file system, and has no atomic renames.
        default.write_text(f"ATTACH DATABASE _ UUID '{uuid.uuid4()}'\nENGINE = Atomic\n")
    # The engine takes this link of its own making for the place of its file database, which then collides with
    # `default`; it makes the link again once both are there.
    link = metadata / "default"
    if link.is_symlink():
        link.unlink()
    owned.config.parent.mkdir(exist_ok=True)
    users = owned.config.with_name("users.xml")
    users.write_text(_users(max_memory))
    owned.config.write_text(_config(owned, users, max_memory))


def _config(owned: OwnedDirectory, users: Path, max_memory: int) -> str:
    caches = max_memory / 4 / psutil.virtual_memory().total
    files = escape(str(owned.engine / "user_files"))
    return f"""<clickhouse>
  <logger><level>none</level></logger>
  <default_database>{PLACEHOLDER_DATABASE}</default_database>
  <max_server_memory_usage>{max_memory}</max_server_memory_usage>
  <cache_size_to_ram_max_ratio>{min(caches, 0.5):.6f}</cache_size_to_ram_max_ratio>
  <user_files_path>{files}/</user_files_path>
  <dictionaries_lib_path>{files}/</dictionaries_lib_path>
  <users_config>{escape(str(users))}</users_config>
</clickhouse>
"""


def _users(max_memory: int) -> str:
    return f"""<clickhouse>
  <profiles>
    <default>
      <max_memory_usage>{max_memory * 3 // 4}</max_memory_usage>
      <async_insert>0</async_insert>
    </default>
  </profiles>
  <users>
    <default>
      <password></password>
      <networks><ip>::/0</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <grants><query>GRANT {_GRANTS} ON *.*</query></grants>
    </default>
  </users>
  <quotas><default/></quotas>
</clickhouse>
"""

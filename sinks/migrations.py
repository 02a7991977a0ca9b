"""Numbered migrations, forward only: `ddl/NNNN_name.sql`, applied once each, in order, and never edited afterwards.

Every statement of a migration may run twice (`IF NOT EXISTS`), so two processes that apply at once, or one that died
half-way, do no harm. Numbers above the highest file here were applied by a newer Penstock and are left alone: tables
and views only ever grow, so an older process works on them.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sinks.errors import MigrationError
from sinks.warehouse import Warehouse

FOLDER: Final = Path(__file__).parent / "ddl"
FILE_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
LOG_TABLE: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    number Int64,
    name String,
    sha256 String,
    applied_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (number, sha256)
COMMENT 'Which migrations were applied, and what was in them'
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of `ddl/`."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """The hash of the file, 64 hex digits."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def statements(self) -> tuple[str, ...]:
        """The statements, without comment lines; each ends in a semicolon at the end of a line."""
        lines = (line for line in self.sql.splitlines() if not line.lstrip().startswith("--"))
        parts = re.split(r";[ \t]*(?:\n|$)", "\n".join(lines))
        return tuple(part.strip() for part in parts if part.strip())

    def __str__(self) -> str:
        return f"{self.number:04}_{self.name}"


def on_disk(folder: Path = FOLDER) -> tuple[Migration, ...]:
    """The migrations of a folder, in order.

    Raises:
        MigrationError: a file has another kind of name, or a number is missing or there twice.
    """
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path.name} is no migration's name: expected NNNN_what_it_does.sql")
        found.append(Migration(int(match[1]), match[2], path.read_text(encoding="utf-8")))
    numbers = [migration.number for migration in found]
    if numbers != list(range(1, len(found) + 1)):
        raise MigrationError(f"migrations must be numbered 1, 2, 3, … without a gap or a repeat; found {numbers}")
    return tuple(found)


def plan(disk: Sequence[Migration], applied: Mapping[int, frozenset[str]]) -> tuple[Migration, ...]:
    """Which migrations are still to be applied, in order.

    Args:
        disk: the migrations at hand.
        applied: the hashes under which each number is on record.

    Raises:
        MigrationError: an applied file has changed since, or a number below an applied one was never applied.
    """
    for migration in disk:
        hashes = applied.get(migration.number)
        if hashes and hashes != {migration.sha256}:
            raise MigrationError(
                f"migration {migration} has changed since it was applied: its file has {migration.sha256[:12]}…, "
                f"on record is {', '.join(sorted(known[:12] + '…' for known in hashes))}. "
                "Put the file back as it was and write the change as a new migration"
            )
    left = tuple(migration for migration in disk if migration.number not in applied)
    highest = max(applied, default=0)
    if left and left[0].number < highest:
        raise MigrationError(f"migration {left[0]} was never applied, but {highest:04} was: the record has a gap")
    return left


def pending(warehouse: Warehouse) -> tuple[Migration, ...]:
    """What `apply` would apply; makes the database and the record of migrations if they are not there.

    Raises:
        MigrationError: files and record don't fit together.
        WarehouseAway: not reachable.
    """
    warehouse.create_database()
    warehouse.command(LOG_TABLE)
    answer = warehouse.query("SELECT number, groupUniqArray(sha256) FROM schema_migrations GROUP BY number")
    return plan(on_disk(), {number: frozenset(hashes) for number, hashes in answer.rows})


def apply(warehouse: Warehouse) -> list[Migration]:
    """Apply what is pending, in order; return it. Applying again does nothing.

    Raises:
        MigrationError: files and record don't fit together; nothing was applied.
        QueryFailed: a statement was refused; the migrations before it are applied and on record.
        WarehouseAway: not reachable; call again.
    """
    left = pending(warehouse)
    for migration in left:
        for statement in migration.statements:
            warehouse.command(statement)
        record = {"number": migration.number, "name": migration.name, "sha256": migration.sha256}
        warehouse.insert_json("schema_migrations", [record])
    return list(left)

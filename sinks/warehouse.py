"""What the rest of this room asks of a warehouse that speaks SQL: questions, commands, and rows as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Parameters = Mapping[str, Any]
"""Values for the `{name:Type}` places of a query; the warehouse binds them, no text is pasted together."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The answer to a query: column names and the rows under them."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def dicts(self) -> list[dict[str, Any]]:
        """Each row as a mapping from column to value."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class Warehouse(Protocol):
    """A database of the warehouse, reachable with SQL.

    Every call raises WarehouseAway when it can't be reached or is overloaded, QueryFailed when it refuses the SQL.
    """

    def create_database(self) -> None:
        """Create the database that all other calls use, unless it is there."""

    def query(self, sql: str, parameters: Parameters | None = None, *, read_only: bool = True) -> Rows:
        """Ask; a read-only query can change neither data nor tables."""

    def command(self, sql: str) -> None:
        """Do: a statement that changes tables."""

    def insert_json(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert a few rows of bookkeeping and wait until they are there; columns not named get their defaults."""

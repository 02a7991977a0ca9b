"""The warehouse over plain HTTP, as anybody with an address reaches it."""

import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import orjson

TIMEOUT_S = 60.0


class WarehouseRefused(Exception):  # noqa: N818 -- names what happened
    """It answered with an error, or not at all."""


class Warehouse:
    """One database."""

    def __init__(self, url: str, database: str) -> None:
        settings = {"database": database, "output_format_json_quote_64bit_integers": "0"}
        self._address = f"{url}/?{urllib.parse.urlencode(settings | {'output_format_json_quote_decimals': '1'})}"

    def ask(self, sql: str) -> list[list[Any]]:
        """The rows of a query; decimals as strings.

        Raises:
            WarehouseRefused: with what it said.
        """
        request = urllib.request.Request(self._address, f"{sql} FORMAT JSONCompactEachRow".encode())
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return [orjson.loads(line) for line in answer.read().splitlines()]
        except urllib.error.HTTPError as error:
            raise WarehouseRefused(f"{sql}: {error.read()[:500].decode(errors='replace')}") from error
        except OSError as error:
            raise WarehouseRefused(f"{sql}: {error}") from error

    def twice(self, view: str, key: str) -> list[str]:
        """Keys that more than one row of a view has."""
        found = self.ask(f"SELECT toString({key}) FROM {view} GROUP BY {key} HAVING count() > 1 ORDER BY 1")
        return [str(row[0]) for row in found]

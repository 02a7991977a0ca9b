"""The model server from outside: its switches."""

import json
import urllib.request
from typing import Any


class ModelServer:
    """A running model server."""

    def __init__(self, url: str) -> None:
        self._url = url

    def open_calls(self) -> int:
        """How many calls are under way."""
        return int(self._ask("/admin/calls")["open"])

    def set_latency(self, constant_ms: float | None) -> None:
        """One latency for all models, in milliseconds; None: each model's own."""
        self._ask("/admin/latency", {"constant_ms": constant_ms})

    def _ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

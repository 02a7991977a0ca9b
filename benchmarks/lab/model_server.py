"""The model server from outside: its switches, and its log of calls, which is the truth about what was called."""

import json
import urllib.request
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson


@dataclass
class Call:
    """One call: when it began and ended, in seconds since 1970; not ended is None."""

    attempt_id: str
    began: float
    ended: float | None = None


class ModelServer:
    """A running model server and its log."""

    def __init__(self, url: str, log: Path) -> None:
        self._url = url
        self._log = log

    def open_calls(self) -> int:
        """How many calls are under way."""
        return int(self._ask("/admin/calls")["open"])

    def set_latency(self, constant_ms: float | None) -> None:
        """One latency for all models, in milliseconds; None: each model's own."""
        self._ask("/admin/latency", {"constant_ms": constant_ms})

    def calls(self, of: str) -> dict[str, list[Call]]:
        """The calls by attempt, in the order in which they began, for attempts whose id starts with `of`."""
        by_id: dict[str, Call] = {}
        by_attempt: dict[str, list[Call]] = defaultdict(list)
        with self._log.open("rb") as lines:
            for line in lines:
                event = orjson.loads(line)
                if not (event["attempt"] or "").startswith(of):
                    continue
                if event["event"] == "began":
                    call = by_id[event["call"]] = Call(event["attempt"], event["at"])
                    by_attempt[call.attempt_id].append(call)
                else:
                    by_id[event["call"]].ended = event["at"]
        return dict(by_attempt)

    def _ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

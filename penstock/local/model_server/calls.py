"""The log of calls: one JSON line when a request has arrived, one when it is over. The truth about what was called.

`{"event": "began", "call", "at", "attempt", "model", "stream", "sha256"}` and `{"event": "ended", "call", "at",
"attempt", "model", "status", "fault", "finish_reason", "prompt_tokens", "completion_tokens", "client_gone"}`. `at` is
wall clock time in seconds since 1970; `attempt` is the caller's `X-Penstock-Attempt`; `sha256` is of the request's
body; status 0 means that the connection was cut. Every line is one unbuffered append, so it outlives whichever
process dies next.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from penstock.local.model_server.completion import Completion

FULL_BYTES = 64 * 2**20
"""A log found larger than this at start is moved aside, over the one moved aside before."""


@dataclass(slots=True)
class Call:
    """One call under way, and what is known of it so far."""

    id: str
    attempt: str | None
    model: str | None = None
    status: int = 0
    fault: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    client_gone: bool = False

    def note(self, completion: Completion) -> None:
        """Take down what was answered."""
        self.finish_reason = completion.finish_reason
        self.prompt_tokens = completion.prompt_tokens
        self.completion_tokens = len(completion.tokens)


class CallLog:
    """Appends to one file."""

    def __init__(self, path: Path, server: str, clock: Callable[[], float] = time.time) -> None:
        """`server` tells this run's calls from others in the same file. Raises OSError if `path` can't be written."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > FULL_BYTES:
            path.replace(path.with_suffix(".1.jsonl"))
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._server = server
        self._clock = clock
        self._began = 0
        self._ended = 0

    def began(self, attempt: str | None, model: str | None, *, stream: bool, sha256: str) -> Call:
        """Log that a request has arrived."""
        self._began += 1
        call = Call(f"{self._server}-{self._began}", attempt, model)
        self._append("began", call, stream=stream, sha256=sha256)
        return call

    def ended(self, call: Call) -> None:
        """Log how it ended."""
        self._ended += 1
        self._append(
            "ended",
            call,
            status=call.status,
            fault=call.fault,
            finish_reason=call.finish_reason,
            prompt_tokens=call.prompt_tokens,
            completion_tokens=call.completion_tokens,
            client_gone=call.client_gone,
        )

    def summary(self) -> dict[str, int]:
        """How many calls this server has taken, finished and has under way."""
        return {"open": self._began - self._ended, "began": self._began, "ended": self._ended}

    def close(self) -> None:
        """No more lines."""
        os.close(self._file)

    def _append(self, event: str, call: Call, **facts: Any) -> None:
        known = {"event": event, "call": call.id, "at": self._clock(), "attempt": call.attempt, "model": call.model}
        os.write(self._file, orjson.dumps(known | facts, option=orjson.OPT_APPEND_NEWLINE))

"""The model server's own log: which calls it got, when each began and ended."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import orjson


@dataclass
class Call:
    """One call: when it began and ended, in seconds since 1970; not ended is None."""

    attempt_id: str
    began: float
    ended: float | None = None
    call_id: str = ""
    """The model server's name for it; its response says `req_` and this."""
    answered: bool = False
    """Whether somebody was there to read the answer."""


def read_calls(log: Path, of: str) -> dict[str, list[Call]]:
    """The calls by attempt, in the order in which they began, for attempts whose id starts with `of`."""
    by_id: dict[str, Call] = {}
    by_attempt: dict[str, list[Call]] = defaultdict(list)
    with log.open("rb") as lines:
        for line in lines:
            event = orjson.loads(line)
            if not (event["attempt"] or "").startswith(of):
                continue
            if event["event"] == "began":
                call = by_id[event["call"]] = Call(event["attempt"], event["at"], call_id=event["call"])
                by_attempt[call.attempt_id].append(call)
            else:
                call = by_id[event["call"]]
                call.ended, call.answered = event["at"], not event["client_gone"]
    return dict(by_attempt)

"""Answers while they are being written, for users who wait: in pieces, outside every transaction, as far as they get.

The result is the truth. What is told here may be repeated, cut short or lost; a new attempt's text takes the place of
the text before it, and after a job's end one last delta says whether what was shown was accepted.
"""

import asyncio
import itertools
from collections.abc import Callable
from typing import Final

import orjson

from processors.checks.strict_json import unwrapped
from schemas.base import JsonText, json_text
from schemas.envelope import Head
from schemas.side import Delta
from schemas.stages import Completion, Status
from streams.records import Record
from streams.topics import DELTAS

EVERY_S: Final = 0.075
"""Seconds between two pieces of one attempt: text that a person reads needs no more, and a record has its price."""
LAST: Final = 2**31 - 1
"""The number of the last word: it comes after all pieces, however many they are."""
_AS_SHOWN: Final = frozenset({Status.ACCEPTED.value, Status.ACCEPTED_UNVERIFIED.value})


Tell = Callable[[Record], object]
"""Sends a record outside transactions and without waiting; what can't be sent is dropped."""


class Deltas:
    """Shows what attempts write; use it within one event loop."""

    def __init__(self, tell: Tell, every_s: float = EVERY_S) -> None:
        self._tell = tell
        self._every_s = every_s

    def begin(self, head: Head, attempt_id: str) -> "Writing":
        """A new attempt: what was shown of earlier ones is void."""
        return Writing(self._tell, head, attempt_id, self._every_s)


class Writing:
    """One attempt's text: the first piece goes at once, what follows is gathered."""

    def __init__(self, tell: Tell, head: Head, attempt_id: str, every_s: float) -> None:
        self._tell = tell
        self._head = head
        self._attempt_id = attempt_id
        self._every_s = every_s
        self._numbers = itertools.count()
        self._gathered: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, text: str) -> None:
        """More text."""
        self._gathered.append(text)
        if self._timer is None:
            self._send()
            self._timer = asyncio.get_running_loop().call_later(self._every_s, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._gathered:
            self._send()
            self._timer = asyncio.get_running_loop().call_later(self._every_s, self._due)

    def _send(self) -> None:
        text, self._gathered = "".join(self._gathered), []
        self._tell(_record(_delta(self._head, self._attempt_id, next(self._numbers), text)))

    def end(self) -> None:
        """Nothing more will come of this attempt."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._gathered:
            self._send()


def last(head: Head, completion: Completion | None, status: str, output: JsonText | None) -> tuple[Record, ...]:
    """What tells those who were shown an answer how its job ended; nothing for a job that is not shown."""
    if not head.shown:
        return ()
    as_shown = status in _AS_SHOWN and completion is not None and _is_what_was_written(completion.text, output)
    end = _delta(head, completion.attempt_id if completion else "", LAST, "", status, accepted=as_shown)
    return (_record(end),)


def _is_what_was_written(text: str, output: JsonText | None) -> bool:
    """Whether the output is the text, or the JSON value in it: a rule may have set fields of it since."""
    if output is None:
        return False
    if orjson.loads(output) == text:
        return True
    try:
        return json_text(orjson.loads(unwrapped(text))) == output
    except ValueError:
        return False


def _delta(
    head: Head, attempt_id: str, seq: int, text: str, status: str | None = None, *, accepted: bool | None = None
) -> Delta:
    return Delta.made(
        job_id=head.job_id,
        attempt_id=attempt_id,
        seq=seq,
        text=text,
        tenant=head.tenant,
        status=status,
        accepted=accepted,
    )


def _record(delta: Delta) -> Record:
    return Record(DELTAS.name, delta.job_id.encode(), delta.to_json())

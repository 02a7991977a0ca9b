"""One call while it lasts: how long it waited, what has come of the answer, how long it may be silent."""

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self

from processors.models import Dialect
from processors.providers.errors import Break
from processors.providers.event_streams import AWS, SERVER_SENT, EventReader, StreamError, reader_of
from processors.providers.exchanges import Timing, broken
from processors.providers.parsing import READERS, Reader, bodies
from processors.providers.port import CompletionRequest, Failure

MAX_RESPONSE_BYTES: Final = 8 * 1024 * 1024


class Call:
    """What is known of a call so far; `clock` counts seconds."""

    def __init__(self, request: CompletionRequest, asked: str, clock: Callable[[], float]) -> None:
        self.request = request
        self.asked = asked
        self.first_token_ms: float | None = None
        self._clock = clock
        self._sent_at: float | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self._events: EventReader | None = None
        self._reader: Reader | None = None

    def sent(self) -> None:
        """It goes onto the wire now."""
        self._sent_at = self._clock()

    def answers(self, dialect: Dialect, headers: Mapping[str, str]) -> None:
        """An answer begins."""
        kind = headers.get("content-type", "")
        if kind.startswith((SERVER_SENT, AWS)):
            self._events, self._reader = reader_of(kind), READERS[dialect]

    def takes(self, piece: bytes) -> bool:
        """Take up a piece of the answer; False if it is too much."""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._events is not None and (self.first_token_ms is None or self.request.on_text is not None):
            self._look_for_text(self._events, piece)
        return self._size <= MAX_RESPONSE_BYTES

    def _look_for_text(self, events: EventReader, piece: bytes) -> None:
        """Note when the first text came; from then on nothing is read before the answer is whole, or for who waits."""
        assert self._reader is not None
        try:
            found = bodies(list(events.feed(piece)))
        except StreamError:
            return
        text = "" if isinstance(found, str) else "".join(map(self._reader.delta, found))
        if text and self.first_token_ms is None:
            assert self._sent_at is not None, "an answer before the call was sent"
            self.first_token_ms = (self._clock() - self._sent_at) * 1000
        if text and self.request.on_text is not None:
            self.request.on_text(text)

    @property
    def received(self) -> bytes:
        """The answer so far."""
        return b"".join(self._pieces)

    @property
    def timing(self) -> Timing:
        """How long what took."""
        return Timing(self.request.queue_ms, self.first_token_ms)

    def too_large(self) -> Failure:
        """The failure of an answer beyond all bounds; what had come of it is dropped."""
        self._pieces.clear()
        return self.broken(Break.TOO_LARGE, f"the response exceeds {MAX_RESPONSE_BYTES} bytes")

    def gave_up(self, kind: Break, said: str) -> Failure:
        """The failure of a call that took too long; one that had no connection yet has reached nobody."""
        return self.broken(kind if self._sent_at is not None else Break.CONNECT_TIMEOUT, said)

    def broken(self, kind: Break, said: str) -> Failure:
        """The failure that the call ends with, and what had come of its answer."""
        partial = self.received.decode("utf-8", "replace") if self._pieces else None
        return broken(self.asked, kind, said, self.timing, partial)


class Patience:
    """How long a call may take in all, a stream to begin, and be silent then; `over` says which was too long."""

    def __init__(self, request: CompletionRequest, total_s: float) -> None:
        self._first_s = request.first_token_timeout_s if request.stream else None
        self._between_s = request.between_tokens_timeout_s if request.stream else None
        self._total_s = total_s
        self._time = asyncio.get_running_loop().time
        self._end = self._time() + total_s
        self._limit = asyncio.timeout_at(self._until(self._first_s))
        self._begun = False

    def _until(self, silent_s: float | None) -> float:
        return self._end if silent_s is None else min(self._end, self._time() + silent_s)

    @property
    def over(self) -> tuple[Break, str] | None:
        """What took too long, if anything did."""
        if not self._limit.expired():
            return None
        if self._limit.when() == self._end:
            return Break.TOTAL_TIMEOUT, f"no answer within {self._total_s:.3g} s"
        if not self._begun:
            return Break.NO_BEGINNING, f"no answer began within {self._first_s:.3g} s"
        return Break.STALLED, f"the answer stopped for {self._between_s:.3g} s"

    def goes_on(self) -> None:
        """Something came."""
        self._begun = True
        if self._between_s is not None:
            self._limit.reschedule(self._until(self._between_s))

    async def __aenter__(self) -> Self:
        await self._limit.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._limit.__aexit__(kind, error, trace)

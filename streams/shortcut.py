"""The short way between stages of one process: the envelope that one has just written, for the other that reads it.

Kafka carries every record as always; a stage that reads exactly the bytes which a stage of this process wrote takes the
envelope that they were made from, and need not decode it. Reading and validating was an eighth of the worker's CPU.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from schemas.envelope import Envelope
from streams.records import Delivery
from streams.stage import Stage
from streams.topics import FlowTopic

MAX_BYTES: Final = 32 * 1024 * 1024
AROUND: Final = 16_000
"""Bytes that an envelope takes beside those of its record: measured on the last of the flow, read from its bytes."""
STALE_S: Final = 30.0
"""Seconds after which an envelope gives way to others: its record may have gone to another process."""


@dataclass(slots=True)
class Shortcut:
    """Envelopes by the bytes of their records. When it is full the newest are left out: the oldest are read next."""

    max_bytes: int = MAX_BYTES
    clock: Callable[[], float] = time.monotonic
    held_bytes: int = 0
    _held: dict[bytes, tuple[float, Envelope[Any]]] = field(default_factory=dict)

    def keep(self, written: bytes, envelope: Envelope[Any]) -> None:
        """Remember what these bytes were made from, if there is room."""
        now, size = self.clock(), len(written) + AROUND
        if self.held_bytes + size > self.max_bytes:
            self._forget_stale(now)
        if self.held_bytes + size <= self.max_bytes and written not in self._held:
            self._held[written] = now, envelope
            self.held_bytes += size

    def take(self, read: bytes) -> Envelope[Any] | None:
        """What these bytes were made from, once; nothing if that is not known here."""
        found = self._held.pop(read, None)
        if found is None:
            return None
        self.held_bytes -= len(read) + AROUND
        return found[1]

    def _forget_stale(self, now: float) -> None:
        for written, (kept_at, _) in tuple(self._held.items()):
            if now - kept_at < STALE_S:
                return
            self.take(written)


def shortened(stages: tuple[Stage[Any, Any], ...], shortcut: Shortcut) -> tuple[Stage[Any, Any], ...]:
    """The same stages; what one passes on and another reads goes through the shortcut."""
    here = {topic.name for stage in stages for topic in stage.reads}
    return tuple(
        replace(
            stage,
            reads=tuple(_read(topic, shortcut) for topic in stage.reads),
            passes=_written(stage.passes, shortcut) if stage.passes and stage.passes.name in here else stage.passes,
        )
        for stage in stages
    )


def _read(topic: FlowTopic[Any], shortcut: Shortcut) -> FlowTopic[Any]:
    def decode(delivery: Delivery) -> Envelope[Any]:
        return shortcut.take(delivery.raw.value or b"") or topic.decode(delivery)

    return replace(topic, decode=decode)


def _written(topic: FlowTopic[Any], shortcut: Shortcut) -> FlowTopic[Any]:
    def encode(envelope: Envelope[Any]) -> bytes:
        written = topic.encode(envelope)
        shortcut.keep(written, envelope)
        return written

    return replace(topic, encode=encode)

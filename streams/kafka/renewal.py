"""When a consumer is beyond help, and how it is made anew.

A broker's restart can fence a static member off from itself: it asks to join again while its first request is still
on its way, and the coordinator takes the two for two processes of one name. So a consumer that fails for good is
replaced once; where that happens again at once, there is another process.
"""

import time
from collections.abc import Callable
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException

from streams.errors import StreamsError

log = structlog.get_logger(__name__)

AGAIN_S: Final = 10.0
"""Seconds that a consumer must have lived to be replaced: a session's time-out."""


class BeyondHelp(Exception):  # noqa: N818 -- caught where the consumer is made anew
    """A consumer will deliver nothing more."""

    def __init__(self, error: KafkaError) -> None:
        super().__init__(error.str())


def is_fatal(error: KafkaError) -> bool:
    """Whether the client that says this will never work again."""
    return error.fatal() or error.code() == KafkaError._FATAL  # noqa: SLF001 -- librdkafka's local codes are named so


def with_renewals(whose: str, run: Callable[[], None]) -> None:
    """Run until it returns; anew when it ends in `BeyondHelp`.

    Raises:
        StreamsError: that happened twice in short time, or a call failed that nothing makes good.
    """
    while True:
        began = time.monotonic()
        try:
            return run()
        except KafkaException as failure:
            error = failure.args[0]
            if not is_fatal(error):
                raise StreamsError(f"{whose}: {error.str()}") from failure
            end: Exception = failure
        except BeyondHelp as failure:
            end = failure
        lived_s = time.monotonic() - began
        if lived_s < AGAIN_S:
            raise StreamsError(
                f"{whose}: a consumer failed for good {lived_s:.1f} s after it was made: {end}. If another process "
                "runs in this slot, end it, or give this one a PENSTOCK_INSTANCE of its own"
            ) from end
        log.warning("consumer made anew", group=whose, lived_s=round(lived_s, 1), error=str(end))

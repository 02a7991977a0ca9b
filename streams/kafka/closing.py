"""How a member leaves its group: nothing that the client does then may hold up the end of a process."""

import threading
import time
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaException

log = structlog.get_logger(__name__)

GIVE_BACK_S: Final = 3.0
CLOSE_S: Final = 5.0
STEP_S: Final = 0.05


def give_back_and_close(consumer: Consumer, group: str) -> None:
    """Give the partitions back, then close.

    A consumer that is closed while it is being given partitions may wait for ever in `incremental_unassign`:
    librdkafka's issue 4884; so did ten sinks of thirty, told to stop half a second after their start. So the
    subscription ends first (none of thirty then), and the close is not waited for without end. Nothing is lost by that:
    what is committed is committed, and whoever takes the partitions over waits for the session's end at most.
    """
    until = time.monotonic() + GIVE_BACK_S
    try:
        consumer.unsubscribe()
        consumer.poll(STEP_S)
        while consumer.assignment() and time.monotonic() < until:
            consumer.poll(STEP_S)
    except KafkaException as error:  # a fatal error is told by every call
        log.info("partitions are not given back", group=group, error=error.args[0].str())
    closing = threading.Thread(target=consumer.close, name=f"{group}-closing", daemon=True)
    closing.start()
    closing.join(CLOSE_S)
    if closing.is_alive():
        log.warning("a consumer that does not close is left behind", group=group)

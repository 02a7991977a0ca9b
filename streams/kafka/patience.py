"""Calls that may hang: made on a thread of their own, which is abandoned when the call does not return in time.

librdkafka's send_offsets_to_transaction ignores its time-out and can wait for ever after a broker was replaced
(librdkafka issues 5456 and 5511). The producer it hangs in can't be used again; a new one in the same slot fences it.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout

Call = tuple[Callable[[], None], "Future[None]"]


class Hung(Exception):  # noqa: N818 -- names what is the case
    """The call did not return in time; its thread and whatever it uses are given up."""


class Patience:
    """One daemon thread that makes calls, one at a time, for one caller."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[Call] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def call(self, function: Callable[[], None], timeout_s: float) -> None:
        """Call and wait for the end; whatever it raises is raised here.

        Raises:
            Hung: it did not return within `timeout_s` seconds.
        """
        done: Future[None] = Future()
        self._calls.put((function, done))
        try:
            done.result(timeout_s)
        except FutureTimeout as error:
            raise Hung(f"no return within {timeout_s:g} s") from error

    def _run(self) -> None:
        while True:
            function, done = self._calls.get()
            try:
                function()
            except BaseException as error:  # noqa: BLE001 -- raised where `call` waits
                done.set_exception(error)
            else:
                done.set_result(None)

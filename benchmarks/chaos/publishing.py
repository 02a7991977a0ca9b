"""The producer of a chaos run: a bare client that publishes jobs as plain JSON at the pace of the ends, and garbage."""

import threading
import time
from collections import deque
from typing import Any, Final

from confluent_kafka import KafkaError, Message
from lab.children import LabError
from lab.site import Site, bare_producer, job

from chaos.plan import UNREADABLE, Extra, Plan

FLUSH_S: Final = 120.0
CLOSE_S: Final = 5.0
STEP_S: Final = 0.01
TOPIC: Final = {Extra.ON_ROUTED: "routed", Extra.ON_ANSWERED: "answered"}


class Publishing(threading.Thread):
    """Publishes everything that a plan holds. What it has published is known once `done` is set."""

    def __init__(self, site: Site, plan: Plan) -> None:
        super().__init__(name="publishing", daemon=True)
        self.published: list[str] = []
        self.one_key: list[frozenset[str]] = []
        self.unreadable: list[str] = []
        self.done = threading.Event()
        self.allowed = 0
        """Jobs that may be published by now, so that some are left for what is still to be broken."""
        self.again = 0
        """Records of jobs that had been published before."""
        self._site = site
        self._plan = plan
        self._producer = bare_producer(site.settings.broker)
        self._later: deque[tuple[str, bytes]] = deque()
        self._stopping = threading.Event()
        self._failure: str | None = None

    @property
    def ends(self) -> int:
        """How many ends these records must have, once all are published."""
        return len(self.published)

    def require_success(self) -> None:
        """Raise LabError if a record was not acknowledged."""
        if self._failure is not None:
            raise LabError(f"publishing failed: {self._failure}")

    def run(self) -> None:
        """Publish until all is published."""
        try:
            for number in range(self._plan.size.jobs):
                self._wait_for_room(number)
                self._publish(number)
            while self._later and not self._stopping.is_set():
                self._publish_later()
                time.sleep(STEP_S)
            if not self._stopping.is_set() and (left := self._producer.flush(FLUSH_S)):
                self._failure = f"{left} records were not acknowledged within {FLUSH_S:g} s"
        except Exception as error:  # noqa: BLE001 -- told to whoever waits
            self._failure = f"{type(error).__name__}: {error}"
        self.done.set()

    def close(self) -> None:
        """Stop."""
        self._stopping.set()
        self.join(CLOSE_S)

    def _wait_for_room(self, number: int) -> None:
        while not self._stopping.is_set():
            if number < min(self.allowed, self._site.ends.count + self._plan.size.window):
                break
            self._producer.poll(STEP_S)
        self._publish_later()

    def _publish(self, number: int) -> None:
        job_id = f"{self._site.name}-{number:05d}"
        extras = self._plan.extras.get(number, ())
        key = {"idempotency_key": f"key-{number}"} if Extra.SAME_KEY in extras else {}
        record = job(job_id, number, **key)
        self._send("jobs", record)
        self.published.append(job_id)
        for extra in extras:
            if extra in UNREADABLE:
                self._send(TOPIC.get(extra, "jobs"), self._plan.garbage(number, extra), self._note_unreadable)
            elif extra is Extra.SAME_KEY:
                self._send("jobs", job(f"{job_id}-copy", number, **key))
                self.published.append(f"{job_id}-copy")
                self.one_key.append(frozenset({job_id, f"{job_id}-copy"}))
            elif extra is Extra.AGAIN:
                self._send("jobs", record)
                self.again += 1
            else:
                self._later.append((job_id, record))

    def _publish_later(self) -> None:
        """Jobs that have ended are published once more."""
        for _ in range(len(self._later)):
            job_id, record = self._later.popleft()
            if job_id in self._site.ends.results or job_id in self._site.ends.escalations:
                self._send("jobs", record)
                self.again += 1
            else:
                self._later.append((job_id, record))

    def _send(self, topic: str, value: bytes, told: Any = None) -> None:
        self._producer.produce(f"{self._site.settings.prefix}{topic}", value, on_delivery=told or self._note_failure)
        self._producer.poll(0)

    def _note_failure(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failure = str(error)

    def _note_unreadable(self, error: KafkaError | None, record: Message) -> None:
        self._note_failure(error, record)
        topic = (record.topic() or "").removeprefix(self._site.settings.prefix)
        self.unreadable.append(f"{topic}/{record.partition()}/{record.offset()}")

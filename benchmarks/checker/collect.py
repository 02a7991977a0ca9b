"""Waits until a system has come to rest, then looks everywhere."""

import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException, Message

from checker.calls import read_calls
from checker.evidence import Evidence, JobRow
from checker.ledger import Ledger
from checker.topics import Ends, read_all, waiting
from checker.traces import stored, traced, wrong_rows
from checker.warehouse import Warehouse

REST_S: Final = 90.0
"""Seconds within which everything must have come to rest once the last job has ended."""
STEP_S: Final = 0.1
VIEWS: Final = {"v_jobs": "(tenant, job_id)", "v_calls": "attempt_id", "v_trace": "event_id"}
"""What may stand once in each view."""
TENANT: Final = "default"


class Checker:
    """One pipeline, as seen by bare clients: its topics, its database, the log of the model server it calls."""

    def __init__(self, broker: str, prefix: str, warehouse: Warehouse, call_log: Path) -> None:
        self.ends = Ends(broker, prefix)
        self._broker = broker
        self._prefix = prefix
        self._warehouse = warehouse
        self._call_log = call_log

    def collect(
        self, ledger: Ledger, jobs_begin_with: str, rest_s: float = REST_S, alive: Callable[[], None] = lambda: None
    ) -> Evidence:
        """Wait until no group has anything left to do, for `rest_s` seconds at most, and look.

        Args:
            ledger: what was done.
            jobs_begin_with: what the ids of this run's jobs have in common.
            rest_s: how long to wait; what still waits then is part of the evidence.
            alive: called while waiting; raises if waiting is in vain.
        """
        left = self._rest(rest_s, alive)
        ends = self._all_ends()
        calls = self._warehouse.ask("SELECT attempt_id, provider_request_id FROM v_calls")
        unsent = self._warehouse.ask("SELECT attempt_id FROM v_calls WHERE NOT sent")
        spent = self._warehouse.ask("SELECT job_id, sum(cost_usd) FROM v_calls GROUP BY job_id")
        priced = (Decimal(usd or 0) for job_id, usd in spent if job_id not in ends.of_unknown_cost)
        jobs = self._warehouse.ask("SELECT job_id, status, terminal, terminal_rows FROM v_jobs")
        on_topic = traced(self._all("traces"))
        return Evidence(
            ledger=ledger,
            results=ends.results,
            escalations=ends.escalations,
            calls=read_calls(self._call_log, f"{TENANT}/{jobs_begin_with}"),
            attempts=dict(calls),
            unsent=frozenset(row[0] for row in unsent),
            job_rows={row[0]: JobRow(row[1], bool(row[2]), int(row[3])) for row in jobs},
            attempts_counted=ends.attempts,
            dead_letters=Counter(map(_address, self._all("dead-letters"))),
            repeated_rows={view: self._warehouse.twice(view, key) for view, key in VIEWS.items()},
            wrong_rows=wrong_rows(on_topic, stored(self._warehouse, on_topic)),
            waiting=left,
            unaccounted_usd=sum(priced, Decimal(0)) - ends.cost_usd,
        )

    def _all_ends(self) -> Ends:
        ends = Ends(self._broker, self._prefix)
        for topic in ("results", "escalations"):
            for message in self._all(topic):
                ends.take(message)
        return ends

    def _rest(self, rest_s: float, alive: Callable[[], None]) -> dict[str, int]:
        until = time.monotonic() + rest_s
        while True:
            try:
                left = waiting(self._broker, self._prefix)
            except KafkaException:
                left = {"a group whose transaction is open": 1}
            if not left or time.monotonic() > until:
                return left
            alive()
            time.sleep(STEP_S)

    def _all(self, topic: str) -> list[Message]:
        return read_all(self._broker, self._prefix + topic)

    def close(self) -> None:
        """Let go."""
        self.ends.close()


def _address(letter: Message) -> str:
    """Where the record lay that a dead letter is of, as its headers tell."""
    told = {name.removeprefix("__dlq.errors."): value for name, value in letter.headers() or ()}
    return "/".join((told[part] or b"").decode() for part in ("topic", "partition", "offset"))

"""How long routing needs to remember: the state of many jobs, restored from its changelog as at a worker's start.

The changelog is written as routing writes it, uncompacted: each job's entry twice, when it is routed and when it has
ended. The goal is five seconds for 100,000 jobs.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

import psutil
from confluent_kafka import Producer
from rich.console import Console
from rich.progress import track

from penstock.local.stack import embedded
from schemas.state import Seen
from streams.kafka.admin import ensure_topics
from streams.kafka.connection import Connection
from streams.kafka.restore import restore
from streams.ledger import LEDGER
from streams.state import PartitionState
from streams.topics import PARTITIONS, ROUTING_STATE

GOAL_S: Final = 5.0
TRANSACTION: Final = 500


def write(connection: Connection, jobs: int, console: Console) -> None:
    """Write the changelog of so many jobs, each routed and ended, in transactions."""
    states = [PartitionState(LEDGER, partition, PARTITIONS) for partition in range(PARTITIONS)]
    producer = connection.transactional_producer("restore-benchmark")
    producer.init_transactions(30)
    for first in track(range(0, jobs, TRANSACTION), "writing the changelog", console=console):
        producer.begin_transaction()
        for number in range(first, min(jobs, first + TRANSACTION)):
            _write_job(producer, connection, states[number % PARTITIONS], number)
        producer.flush()
        producer.commit_transaction(30)


def _write_job(producer: Producer, connection: Connection, state: PartitionState[Seen], number: int) -> None:
    for closed in (False, True):
        key = f"job/tenant-{number % 50}/0f8e6a1c-3f1d-4c55-9d0e-{number:012x}"
        state.put(key, Seen(rung=1, closed=closed, changed_ms=1_700_000_000_000 + number))
        for record in state.changes():
            producer.produce(connection.topic(record.topic), record.value, record.key, record.partition)


def measure(jobs: int, console: Console) -> dict[str, object]:
    """Seconds to restore the state of so many jobs, and the memory that it takes."""
    with (
        tempfile.TemporaryDirectory(prefix="penstock-restore-") as folder,
        embedded(Path(folder), ("broker",)) as stack,
    ):
        connection = Connection(stack.broker, prefix="restore.")
        ensure_topics(connection, [ROUTING_STATE])
        write(connection, jobs, console)
        process = psutil.Process(os.getpid())
        before, began = process.memory_full_info().uss, time.monotonic()
        expected = dict.fromkeys(range(PARTITIONS), True)
        states = restore(connection, connection.admin(), LEDGER, expected, threading.Event())
        seconds = time.monotonic() - began
        grown = process.memory_full_info().uss - before
        restored = sum(map(len, states.values()))
    return {"jobs": restored, "seconds": round(seconds, 2), "megabytes": round(grown / 1e6, 1), "goal_s": GOAL_S}


def main() -> int:
    """Measure and print; ends with 1 beyond the goal or if an entry is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    told = parser.parse_args()
    console = Console(stderr=told.json)
    figures = measure(told.jobs, console)
    if told.json:
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        took = f"{figures['seconds']} s (goal {GOAL_S:g} s), {figures['megabytes']} MB"
        console.print(f"{figures['jobs']:,} jobs restored in {took}")
    return 0 if figures["jobs"] == told.jobs and float(str(figures["seconds"])) <= GOAL_S else 1


if __name__ == "__main__":
    sys.exit(main())

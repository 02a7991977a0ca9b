"""How long a worker that dies between produce and commit holds up others: measured, and compared with the stated bound.

Its open transaction keeps every read_committed reader from what comes after it, until its successor in the slot fences
it, or the broker ends it: transaction time-out plus the broker's scan. A bare client writes a mark to every partition
that the dead worker may have written to, over and over, and a bare reader says when each mark arrives.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final

from checker.topics import assign_from_start, consumer
from confluent_kafka import IsolationLevel, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from lab.children import LabError, wait_for
from lab.site import ROOT, Site
from rich.console import Console
from rich.table import Table

from penstock.local.stack import EmbeddedStack, embedded
from streams.fail_points import BEFORE_COMMIT, VARIABLE

TIMEOUT_S: Final = 10.0
"""transaction.timeout.ms, Penstock's default."""
SCAN_S: Final = 5.0
"""How often the embedded broker looks for transactions that took too long."""
SLACK_S: Final = 1.0
"""What reader, writer and the marker of the abort may take besides, on a busy machine."""
JOBS: Final = 60
MOST_TRIES: Final = 10
EVERY_S: Final = 0.05
PARTITIONS: Final = 6
STALLED: Final = "validated"
"""What the stage that dies writes to; here nobody but this measurement reads it."""


@dataclass(frozen=True)
class Stall:
    """One death: how long a mark waited to be read at most, and how long before and after the death as a rule."""

    restarted: bool
    longest_s: float
    usual_s: float


def measure(stack: EmbeddedStack, name: str, *, restarted: bool) -> Stall:
    """Let validation die with its transaction open, and watch the topic that it wrote to.

    Raises:
        LabError: it does not die.
    """
    site = Site(stack, name)
    try:
        site.start("intake", "routing", "inference")
        site.publish(JOBS)
        for nth in range(1, MOST_TRIES + 1):  # a transaction may hold nothing but positions
            victim = site.launch("validation", **{VARIABLE: f"{BEFORE_COMMIT}:{nth}"})
            wait_for(lambda victim=victim: victim.exit_code() is not None, f"validation dies before its commit {nth}")
            if _held_back(site.settings.broker, f"{site.settings.prefix}{STALLED}"):
                break
        else:
            raise LabError(f"{MOST_TRIES} deaths left no transaction open on {STALLED}")
        if restarted:
            site.launch("validation")
        delays = _delays(site.settings.broker, f"{site.settings.prefix}{STALLED}")
        return Stall(restarted, max(delays), median(delays))
    finally:
        site.close()


def _held_back(broker: str, topic: str) -> int:
    """Records and markers of a topic that a read_committed reader can't have yet."""
    admin = AdminClient({"bootstrap.servers": broker, "log_level": 0})
    wanted = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(PARTITIONS)}
    ends = [
        sum(found.result().offset for found in admin.list_offsets(wanted, isolation_level=level).values())
        for level in (IsolationLevel.READ_UNCOMMITTED, IsolationLevel.READ_COMMITTED)
    ]
    return ends[0] - ends[1]


def _delays(broker: str, topic: str) -> list[float]:
    """Seconds from the acknowledgement of each mark until a read_committed reader had it."""
    with _reading(broker, topic) as reader:
        producer = Producer({"bootstrap.servers": broker, "acks": "all", "linger.ms": 0, "log_level": 0})
        written: dict[bytes, float] = {}
        read: dict[bytes, float] = {}
        until = time.monotonic() + TIMEOUT_S + SCAN_S + SLACK_S + 5
        next_at, number = 0.0, 0
        while time.monotonic() < until or written.keys() - read.keys():
            if time.monotonic() > until + 30:
                raise LabError(f"{len(written.keys() - read.keys())} marks on {topic} were not read within 30 s")
            if next_at < time.monotonic() < until:
                for partition in range(PARTITIONS):
                    key = b"mark-%d-%d" % (number, partition)
                    written[key] = time.monotonic()
                    producer.produce(topic, b"mark", key, partition)
                next_at, number = time.monotonic() + EVERY_S, number + 1
            producer.poll(0)
            for message in reader.consume(100, 0.005):
                if message.error() is None and (message.key() or b"") in written:
                    read[message.key() or b""] = time.monotonic()
        return [read[key] - written[key] for key in read]


@contextmanager
def _reading(broker: str, topic: str) -> Iterator[object]:
    reader = consumer(broker)
    try:
        reader.assign(assign_from_start(reader, topic))
        yield reader
    finally:
        reader.close()


def main() -> int:
    """Measure both ways and print; 1 if the bound does not hold, 3 if it can't be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3, help="deaths of each kind (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON on standard output, the rest on standard error")
    told = parser.parse_args()
    console = Console(stderr=told.json)
    bound_s = TIMEOUT_S + SCAN_S
    try:
        with tempfile.TemporaryDirectory(prefix="penstock-stall-") as folder:
            data = Path(folder)
            trained = ROOT / ".penstock" / "cache" / "models"
            trained.mkdir(parents=True, exist_ok=True)
            (data / "model_server").mkdir()
            (data / "model_server" / "models").symlink_to(trained)
            with embedded(data, ("broker", "model_server")) as stack:
                stalls = [
                    measure(stack, f"stall{number}{restarted:d}", restarted=restarted)
                    for restarted in (True, False)
                    for number in range(told.repeat)
                ]
    except LabError as error:
        console.print(f"[red]{error}", highlight=False)
        return 3
    table = Table(title=f"a worker dies between produce and commit; stated bound {bound_s:g} s")
    for column in ("", "others waited at most, s", "median of all marks, s"):
        table.add_column(column, justify="right" if column else "left")
    for stall in stalls:
        name = "restarted at once" if stall.restarted else "not restarted"
        table.add_row(name, f"{stall.longest_s:.2f}", f"{stall.usual_s:.3f}")
    console.print(table)
    holds = all(stall.longest_s <= bound_s + SLACK_S for stall in stalls)
    console.print("The bound holds." if holds else f"[red]The bound does not hold, with {SLACK_S:g} s to spare.")
    if told.json:
        print(json.dumps({"bound_s": bound_s, "holds": holds, "stalls": [asdict(one) for one in stalls]}, indent=2))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())

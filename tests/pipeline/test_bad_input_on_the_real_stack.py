"""One worker process on real Kafka, warehouse and model server: bad input amid good, then outages."""

import base64
import itertools
import json
import os
import re
import secrets
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from confluent_kafka import Producer

from penstock import lines
from processors.policy.breaker import Limits
from schemas.base import json_text, sha256_hex
from schemas.dead_letter_events import DeadLetterActionEvent
from schemas.trace import TABLES, TargetEvent, ToolCallEvent
from streams.kafka.admin import ensure_topics
from streams.kafka.clients import Reader
from streams.kafka.lags import behind, lags

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
TIERS = ("retries.10s", "retries.5m")
GOOD = [f"My card has still not arrived, I ordered it {n} days ago." for n in range(20)]
NOISE = base64.b64encode(secrets.token_bytes(3_750_000)).decode()  # nothing that Kafka could compress below its limits
LATER = (datetime.now(UTC) + timedelta(days=1)).isoformat()
CHUNKS = [{"id": "c1", "text": "Cards arrive in five days.", "source": "faq"}]
HASH = sha256_hex(json_text([["c1", "Cards arrive in five days.", None, "faq"]]))


def job(job_id, text="Where is my card?", **fields):
    return json.dumps({"workflow": "banking_intent", "input": {"text": text}, "job_id": job_id} | fields).encode()


def raw(job_id, text):
    """A job whose input's JSON is written as it stands here."""
    return b'{"workflow": "banking_intent", "job_id": "%s", "input": %s}' % (job_id.encode(), text)


def context(**changes):
    fields = {"id": "faq", "version": "1", "taken_at": "2026-01-01T00:00:00Z", "chunks": CHUNKS, "sha256": HASH}
    return fields | changes


ANSWERED_BAD = {
    "unknown-workflow": (job("unknown-workflow", workflow="bankin_intent"), "rejected", "near: banking_intent"),
    "no-workflow": (b'{"job_id": "no-workflow", "input": {}}', "rejected", "workflow: is missing"),
    "no-input": (b'{"job_id": "no-input", "workflow": "banking_intent"}', "rejected", "input: is missing"),
    "misfit": (raw("misfit", b'{"txet": 1}'), "rejected", "input does not fit banking_intent@"),
    "unknown-field": (job("unknown-field", colour="red"), "rejected", "colour: is no field of a job"),
    "five-megabytes": (job("five-megabytes", NOISE), "rejected", "too_large: the record has 5"),
    "wrong-hash": (job("wrong-hash", context=context(sha256="0" * 64)), "rejected", f"found {HASH}"),
    "stale": (job("stale", context=context(valid_until="2026-01-02T00:00:00Z")), "stale_context", "was valid until"),
    "expired": (job("expired", deadline_ms=1), "expired", "the deadline passed"),
    "control-character": (raw("control-character", b'{"text": "a\x07b"}'), "rejected", "control character"),
    "lone-surrogate": (raw("lone-surrogate", b'{"text": "\\ud800"}'), "rejected", "not valid JSON"),
    "nan": (raw("nan", b'{"text": NaN}'), "rejected", "not valid JSON"),
    "infinity": (raw("infinity", b'{"text": 1e999}'), "rejected", "input: Out of range"),
    "duplicate-key": (raw("duplicate-key", b'{"text": "a", "text": "b"}'), "rejected", "Detected duplicate key"),
    "deep": (raw("deep", b"[" * 300 + b"]" * 300), "rejected", "recursion limit exceeded"),
    "huge-number": (job("huge-number", max_latency_ms=10**30), "rejected", "max_latency_ms: "),
    "early-date": (
        job("early-date", context=context(taken_at="0001-01-01T00:00:00+12:00")),
        "rejected",
        "before the year 1",
    ),
}
"""Jobs that can be told: the record, the status and what the reason must say."""

UNREADABLE = {
    "text": (b"hello, is anybody there?", "expected a JSON object or an Avro job"),
    "binary": (bytes(range(256)), "256 bytes starting with"),
    "empty": (b"", "the record is empty"),
    "list": (b"[1, 2, 3]", "found a list"),
    "unknown-avro": (b"\xc3\x01" + b"\x11" * 40, "none of the 2 released versions"),
    "not-utf-8": (b'{"workflow": "banking_intent", "input": "\xff"}', "invalid unicode"),
}
"""Records that name no job: what was found must be in the dead letter."""

DEEPEST = raw("deepest", b"[" * 10_000 + b"]" * 10_000)
"""Too deep for any reader here; newer Pythons can still find out whose job it is."""


class RealWorker:
    """A worker process and what it has written so far."""

    def __init__(self, stack, folder):
        name = f"bad{secrets.token_hex(4)}"
        own = {"prefix": f"{name}.", "warehouse_database": name, "instance": name, "data_dir": folder}
        self.settings = stack.settings(ROOT, **own)
        self.connection = lines.connection(self.settings)
        ensure_topics(self.connection)
        self.warehouse = lines.warehouse(self.settings)
        self.producer = Producer({"bootstrap.servers": stack.broker, "message.max.bytes": 8_000_000})
        self.read = {topic: [] for topic in ("results", "escalations", "dead-letters", *TIERS)}
        self.reader = Reader(self.connection, tuple(self.read), from_start=True)
        self.log = folder / "worker.log"
        names = ("broker", "warehouse_url", "model_server_url", *own)
        told = {f"PENSTOCK_{name.upper()}": str(getattr(self.settings, name)) for name in names}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                (sys.executable, "-m", "penstock.cli", "run"),
                cwd=ROOT,
                env={name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")} | told,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def ready(self):
        assert self.process.poll() is None, self.log.read_text()
        return '"event": "ready"' in self.log.read_text()

    def publish(self, *values, headers=()):
        """Publish as any client of Kafka does: nothing of Penstock stands in between."""
        for value in values:
            self.producer.produce(self.connection.topic("jobs"), value, b"customer", headers=list(headers))
            self.producer.poll(0)
        assert self.producer.flush(20) == 0

    def look(self):
        """Read what has come since the last look."""
        assert self.process.poll() is None, self.log.read_text()[-5000:]
        for one in self.reader.read(1000, 0.2):
            self.read[one.address.topic].append(one)
        return self

    def values(self, topic):
        return [json.loads(one.raw.value) for one in self.read[topic]]

    def ended(self):
        """The jobs that have a result or wait for a person."""
        return {one["job_id"]: one for topic in ("results", "escalations") for one in self.values(topic)}

    def idle(self):
        return not any(behind(lags(self.connection)).values())

    def stored(self, table):
        return self.warehouse.query(f"SELECT * FROM {table} FINAL").dicts()

    def close(self):
        try:
            self.process.send_signal(signal.SIGTERM)
            code = self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()
            self.reader.close()
            self.warehouse.close()
        assert code == 0, self.log.read_text()[-5000:]


@pytest.fixture(scope="module")
def worker(stack, tmp_path_factory, eventually):
    """A worker on topics and tables of its own; it must end in peace."""
    running = RealWorker(stack, tmp_path_factory.mktemp("worker"))
    try:
        eventually(running.ready, 120)
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def seen(worker, eventually):
    """What came of all the bad records amid good ones, once nothing is in work any more."""
    bad = [value for value, *_ in (*ANSWERED_BAD.values(), *UNREADABLE.values())] + [DEEPEST]
    good = [job(f"good-{n}", text) for n, text in enumerate(GOOD)]
    worker.publish(*(value for pair in itertools.zip_longest(good, bad) for value in pair if value is not None))
    worker.publish(job("good-and-heavy"), headers=[("mine", NOISE)])
    everything = len(bad) + len(good) + 1
    eventually(lambda: len(worker.look().ended()) + len(worker.read["dead-letters"]) >= everything, 120)
    eventually(worker.idle)
    worker.look()
    results = worker.values("results")
    letters = {one.raw.value: dict(one.raw.headers) for one in worker.read["dead-letters"]}
    assert len(results) == len({one["job_id"] for one in results}), "a job has two results"
    assert len(letters) == len(worker.read["dead-letters"]), "a record has two dead letters"
    return SimpleNamespace(results={one["job_id"]: one for one in results}, letters=letters, ended=worker.ended())


@pytest.mark.parametrize("job_id", ANSWERED_BAD)
def test_a_job_that_can_be_told_gets_one_result(seen, job_id):
    """Status and reason say what is wrong, the trace can be followed, and there is no dead letter."""
    value, status, reason = ANSWERED_BAD[job_id]
    result = seen.results[job_id]
    assert (result["status"], result["output"], result["attempts"]) == (status, None, 0)
    assert reason in result["reason"]
    assert re.fullmatch("[0-9a-f]{32}", result["trace_id"])
    assert value not in seen.letters


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_record_that_nobody_can_read_becomes_one_dead_letter(seen, name):
    """Its bytes are untouched, and the headers say what was found."""
    value, found = UNREADABLE[name]
    headers = seen.letters[value]
    assert found in headers["__dlq.errors.message"].decode()
    assert (headers["penstock-stage"], headers["__dlq.errors.topic"]) == (b"intake", b"jobs")


def test_the_deepest_nesting_is_refused_one_way_or_the_other(seen):
    """10,000 levels end as a dead letter, or as a rejection where the Python at hand can tell whose job it is."""
    result = seen.results.get("deepest")
    assert (DEEPEST in seen.letters) != (result is not None)
    assert result is None or result["status"] == "rejected"


def test_the_good_jobs_among_them_all_end(seen):
    """No bad record holds up or spoils a good one; nothing else came out."""
    good = {"good-and-heavy", *(f"good-{n}" for n in range(len(GOOD)))}
    assert {seen.ended[job_id].get("status", "escalated") for job_id in good} <= {"accepted", "escalated"}
    assert seen.ended.keys() - {"deepest"} == good | ANSWERED_BAD.keys()
    assert seen.letters.keys() - {DEEPEST} == {value for value, _ in UNREADABLE.values()}


def test_the_warehouse_comes_back_and_has_every_row(worker, seen, stack, eventually):
    """While the warehouse is away jobs go on ending; afterwards its rows are complete, those from before included."""
    stack.stop("warehouse")
    try:
        worker.publish(*(job(f"dark-{n}", GOOD[n]) for n in range(5)))
        eventually(lambda: len(worker.look().ended().keys() & {f"dark-{n}" for n in range(5)}) == 5)
    finally:
        stack.start("warehouse")
    wanted = worker.ended().keys()
    eventually(lambda: {row["job_id"] for row in worker.stored("jobs")} >= wanted)
    eventually(lambda: len(worker.stored("dead_letters")) == len(worker.read["dead-letters"]))
    rows = {row["job_id"]: row for row in worker.stored("jobs")}
    assert {job_id: row["status"] for job_id, row in rows.items()} == {
        job_id: end.get("status", "escalated") for job_id, end in worker.ended().items()
    }
    stages = {row["job_id"] for row in worker.stored("stage_events") if row["stage"] == "grading"}
    assert stages >= {job_id for job_id, end in worker.ended().items() if end.get("status") == "accepted"}
    by_people, by_trouble, by_tools = DeadLetterActionEvent.TABLE, TargetEvent.TABLE, ToolCallEvent.TABLE
    assert {table.TABLE for table in TABLES if not worker.stored(table.TABLE)} <= {by_people, by_trouble, by_tools}


def test_jobs_wait_for_the_model_server(worker, seen, stack, eventually):
    """Without a model server jobs wait as records, called a few times until its breaker opens; they end after it."""
    stack.stop("model_server")
    wanted = {f"patient-{n}" for n in range(5)}
    try:
        worker.publish(*(job(job_id, GOOD[0]) for job_id in wanted))
        eventually(lambda: sum(len(worker.look().read[tier]) for tier in TIERS) >= 5)
        assert not wanted & worker.ended().keys()
    finally:
        stack.start("model_server")
    eventually(lambda: wanted <= worker.look().ended().keys(), 120)
    in_a_row = Limits().in_succession
    assert sum(worker.ended()[job_id]["attempts"] for job_id in wanted) >= in_a_row + len(wanted)
    eventually(lambda: {row["after"] for row in worker.stored("targets")} >= {"open", "half_open", "closed"})
    for job_id in wanted:
        end = worker.ended()[job_id]
        assert end.get("status", "escalated") in {"accepted", "escalated"}
        assert "inference" in {step["stage"] for step in end["decision_path"] if step["outcome"] == "retry"}

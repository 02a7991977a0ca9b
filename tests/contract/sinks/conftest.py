"""A warehouse of its own for these tests: the embedded one, or a real server named by PENSTOCK_TEST_CLICKHOUSE_URL."""

import hashlib
import json
import os
import secrets
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from penstock.local.ports import free_port
from schemas.avro import encode_rows, newest_json
from schemas.dead_letter_events import DeadLetterActionEvent, DeadLetterEvent
from schemas.trace import (
    TABLES,
    AttemptEvent,
    CheckEvent,
    ControlEvent,
    DecisionEvent,
    GradeEvent,
    JobEvent,
    PayloadEvent,
    StageEvent,
)
from sinks import migrations
from sinks.avro_body import container
from sinks.clickhouse import ClickHouse

START_S = 60
REAL_SERVER = {
    name: os.environ.get(f"PENSTOCK_TEST_CLICKHOUSE_{name.upper()}") for name in ("url", "user", "password")
}  # read now: the tests themselves see no settings from outside


@pytest.fixture(scope="session")
def warehouse_url(tmp_path_factory):
    """The address of a running warehouse, which ends with the tests if they started it."""
    if REAL_SERVER["url"]:
        yield REAL_SERVER["url"]
        return
    folder = tmp_path_factory.mktemp("warehouse")
    port = free_port()
    command = [sys.executable, "-m", "penstock.local.warehouse", "--port", str(port), "--data", str(folder / "data")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: answers(url), process, folder / "log")
        yield url
    finally:
        process.terminate()
        process.wait(START_S)


def answers(url):
    try:
        with urlopen(f"{url}/ping", timeout=1) as response:
            return response.status == 200
    except (URLError, OSError):
        return False


def wait_for(condition, process, log):
    end = time.monotonic() + START_S
    while not condition():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def client_of(url):
    """A client of a database that does not exist yet."""
    user, password = REAL_SERVER["user"] or "default", REAL_SERVER["password"]
    return ClickHouse(url, user, password, database=f"test_{secrets.token_hex(6)}")


def drop(client):
    client.create_database()  # not all tests do, and connecting to a missing one is an error
    client.command(f"DROP DATABASE {client.database}")
    client.close()


@pytest.fixture
def empty_database(warehouse_url):
    """A client of a database that does not exist yet; it is dropped afterwards."""
    client = client_of(warehouse_url)
    yield client
    drop(client)


@pytest.fixture(scope="session")
def shared_database(warehouse_url):
    client = client_of(warehouse_url)
    migrations.apply(client)
    yield client
    drop(client)


@pytest.fixture
def clickhouse(shared_database):
    """A client of a database with all tables and views and no row. The tables stay: a test may change rows only."""
    for table in (*(model.TABLE for model in TABLES), "sink_progress", "sink_gaps"):
        shared_database.command(f"TRUNCATE TABLE {table}")
    return shared_database


NOW = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=123_456) - timedelta(days=1)


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


class Story:
    """Makes rows as the stages would: one job's, with times in order and ids derived from its place in the flow."""

    def __init__(self, job_id="job-1", tenant="acme", workflow="banking_intent", start=NOW):
        self.job_id, self.tenant, self.workflow, self.start = job_id, tenant, workflow, start

    def common(self, stage, what, rung, ms):
        return {
            "time": self.start + timedelta(milliseconds=ms),
            "tenant": self.tenant,
            "workflow": self.workflow,
            "workflow_version": "0123456789abcdef",
            "job_id": self.job_id,
            "trace_id": sha(self.tenant + self.job_id)[:32],
            "stage": stage,
            "rung": rung,
            "round": 0,
            "arm": "baseline",
            "control_version": -1,
            "segments": {"language": "en", "length": "short"},
            "event_id": f"{self.tenant}/{self.job_id}/{stage}/{rung}/0/{what}",
        }

    def stage(self, stage, outcome="pass", rung=0, ms=1, **more):
        fields = {
            "outcome": outcome,
            "reason": "",
            "queue_ms": 1.5,
            "duration_ms": 0.25,
            "worker": "worker-1",
            "messaging_destination_name": "jobs",
            "messaging_kafka_partition": 3,
            "messaging_kafka_offset": 2**40,
        }
        return StageEvent(**{**self.common(stage, "stage", rung, ms), **fields, **more})

    def decision(self, rung=0, ms=2, **more):
        fields = {
            "variant": ("small", "mid")[rung],
            "tier": "AB"[rung],
            "gen_ai_provider_name": "local",
            "gen_ai_request_model": ("local-small", "local-mid")[rung],
            "reasons": ("task classify", "first rung"),
            "skipped": (),
        }
        return DecisionEvent(**{**self.common("routing", "decision", rung, ms), **fields, **more})

    def call(self, rung=0, n=0, ms=30, cost="0.000012345", **more):
        fields = {
            "attempt_id": f"{self.tenant}/{self.job_id}/{rung}/0/{n}",
            "n": n,
            "variant": ("small", "mid")[rung],
            "tier": "AB"[rung],
            "gen_ai_provider_name": "local",
            "gen_ai_request_model": ("local-small", "local-mid")[rung],
            "gen_ai_response_model": ("local-small", "local-mid")[rung],
            "gen_ai_response_finish_reason": "stop",
            "gen_ai_usage_input_tokens": 120,
            "gen_ai_usage_output_tokens": 12,
            "gen_ai_usage_cached_tokens": 0,
            "cost_usd": None if cost is None else Decimal(cost),
            "cost_unknown_because": "no price" if cost is None else None,
            "prompt_sha256": sha("prompt"),
            "request_sha256": sha("the request"),
            "response_sha256": sha("the response"),
            "http_response_status_code": 200,
            "error_class": None,
            "error": None,
            "provider_request_id": "req-1",
            "limits": {"x-ratelimit-remaining": "10"},
            "started_at": self.start,
            "total_ms": 25.5,
        }
        return AttemptEvent(**{**self.common("inference", f"attempt/{n}", rung, ms), **fields, **more})

    def failed_call(self, rung=0, n=0, ms=20):
        nothing = dict.fromkeys(
            [
                "gen_ai_response_model",
                "gen_ai_response_finish_reason",
                "gen_ai_usage_input_tokens",
                "gen_ai_usage_output_tokens",
                "gen_ai_usage_cached_tokens",
                "response_sha256",
                "provider_request_id",
            ]
        )
        failure = {"error_class": "wait_until", "error": "too many requests", "http_response_status_code": 429}
        return self.call(rung, n, ms, cost=None, **nothing, **failure, limits={})

    def check(self, verdict="allow", rung=0, ms=40):
        return CheckEvent(
            **self.common("validation", "check/schema", rung, ms),
            check_name="schema",
            check_version="1",
            verdict=verdict,
            evidence="'label' is one of 77 ✓",
            duration_ms=0.1,
        )

    def grade(self, decision="accept", rung=0, ms=50, confidence=0.91):
        return GradeEvent(
            **self.common("grading", "grade", rung, ms),
            variant=("small", "mid")[rung],
            gen_ai_response_model=("local-small", "local-mid")[rung],
            decision=decision,
            reason="confident",
            raw_confidence=confidence,
            confidence=confidence,
            accept_at=0.85,
            climb_below=0.72,
            calibration="platt@3",
            output_sha256=sha("the output"),
        )

    def end(self, status="accepted", rung=0, ms=60, cost="0.000012345", **more):
        terminal = status != "escalated"
        fields = {
            "status": status,
            "terminal": terminal,
            "reason": "",
            "confidence": 0.91,
            "variant": ("small", "mid")[rung],
            "tier": "AB"[rung],
            "gen_ai_response_model": ("local-small", "local-mid")[rung],
            "input_sha256": sha("the input"),
            "output_sha256": sha("the output"),
            "attempts": 1,
            "input_tokens": 120,
            "output_tokens": 12,
            "cost_usd": None if cost is None else Decimal(cost),
            "priced_cost_usd": Decimal(cost or 0),
            "unpriced_attempts": int(cost is None),
            "created_at": self.start,
            "deadline": self.start + timedelta(hours=1),
            "total_ms": float(ms),
            "snapshot_id": None,
            "snapshot_version": None,
            "source_topic": "jobs",
            "source_partition": 3,
            "source_offset": 2**40,
        }
        what = "end" if terminal else "escalation"
        return JobEvent(**{**self.common("grading", what, rung, ms), **fields, **more})

    def payloads(self):
        texts = {"input": "the input", "request": "the request", "response": "the response", "output": "the output"}
        return [PayloadEvent(sha256=sha(text), kind=kind, time=self.start, text=text) for kind, text in texts.items()]

    def dead_letter(self):
        return DeadLetterEvent(
            time=self.start,
            event_id=f"dead/{self.job_id}",
            stage="validation",
            tenant=self.tenant,
            job_id=self.job_id,
            error_class="ValueError",
            message="a bug",
            messaging_destination_name="answered",
            messaging_kafka_partition=1,
            messaging_kafka_offset=7,
        )

    def dead_letter_action(self, n=1, **more):
        fields = {
            "time": self.start,
            "event_id": f"dead-letters/0/3/{n}",
            "letter": "dead-letters/0/3",
            "n": n,
            "action": "redrive",
            "who": "someone",
            "why": "the bug is mended",
            "tenant": self.tenant,
            "job_id": self.job_id,
            "new_job_id": f"{self.job_id}.redrive-0123456789ab",
            "destination": "jobs",
            "stage": "validation",
            "error_class": "ValueError",
        }
        return DeadLetterActionEvent(**fields | more)

    def control(self, version=0):
        return ControlEvent(
            control_version=version,
            time=self.start,
            key="active/banking_intent",
            kind="activate",
            target="workflow",
            name="banking_intent",
            version="0123456789abcdef",
            who="someone",
            why="first release",
        )

    def one_of_each(self):
        """A row for every table."""
        return [
            self.stage("intake"),
            self.decision(),
            self.call(),
            self.check(),
            self.grade(),
            self.end(),
            self.payloads()[0],
            self.control(),
            self.dead_letter(),
            self.dead_letter_action(),
        ]


def body_of(rows, per_array=2):
    """The body of rows of one model, encoded in small arrays as the stages do."""
    name = type(rows[0]).__name__
    arrays = [encode_rows(name, rows[at : at + per_array]) for at in range(0, len(rows), per_array)]
    return container(json.dumps(newest_json(name)), arrays)


def store(sink, rows):
    """Insert rows of any tables."""
    by_model = {}
    for row in rows:
        by_model.setdefault(type(row), []).append(row)
    for model, of_model in by_model.items():
        sink.insert(model.TABLE, body_of(of_model), len(of_model))


@pytest.fixture(scope="session")
def make():
    """The row makers above, since test modules can't import each other."""
    return SimpleNamespace(Story=Story, body_of=body_of, store=store, NOW=NOW)

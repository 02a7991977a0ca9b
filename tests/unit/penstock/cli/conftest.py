from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO

import pytest
from rich.console import Console

from penstock.cli.app import run_command
from penstock.local.ports import free_ports
from schemas.dead_letter_events import DeadLetterEvent
from schemas.trace import AttemptEvent, CheckEvent, DecisionEvent, GradeEvent, JobEvent, StageEvent
from sinks.queries import Call, JobTrace


@dataclass(frozen=True)
class Ran:
    """What a command line left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of its own, with ports on which nothing listens; the working directory of the test."""
    broker, warehouse, model_server = free_ports(3)
    (tmp_path / "penstock.toml").write_text(
        f"broker_port = {broker}\nwarehouse_port = {warehouse}\nmodel_server_port = {model_server}\n"
    )
    (tmp_path / "models.toml").write_text(
        '[providers.local]\nbase_url = "http://127.0.0.1:9/v1"\n\n'
        '[models.tiny]\nprovider = "local"\nid = "tiny"\ntier = "A"\n'
    )
    folder = tmp_path / "workflows" / "greet"
    (folder / "prompts" / "plain").mkdir(parents=True)
    (folder / "workflow.toml").write_text(
        'task = "rewrite"\nowner = "us"\n\n[[ladder]]\nvariant = "plain"\ntier = "A"\nmodel = "tiny"\n'
    )
    (folder / "prompts" / "plain" / "user.md").write_text("Greet {{ input.name }}.\n")
    (folder / "input.schema.json").write_text(
        '{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def cli(project, capsys):
    """Give a function that runs one command line in the project."""

    def run(*arguments):
        code = run_command(list(arguments))
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run


@pytest.fixture
def text():
    """Give a function that renders something as a terminal of 200 columns without colours shows it."""

    def render(shown):
        console = Console(file=StringIO(), width=200)
        console.print(shown)
        return console.file.getvalue()

    return render


AT = datetime(2026, 1, 1, 12, 0, 1, tzinfo=UTC)
COMMON = {
    "time": AT,
    "tenant": "acme",
    "workflow": "banking_intent",
    "workflow_version": "c60783ff640e1800",
    "job_id": "j1",
    "trace_id": "a" * 32,
    "rung": 0,
    "round": 0,
    "arm": "baseline",
    "control_version": 3,
    "segments": {},
}


def _common(stage, n):
    return COMMON | {"stage": stage, "event_id": f"acme/j1/{stage}/0/0/0/{n}"}


def _stage(stage, outcome="pass", reason="", **more):
    fields = {
        **_common(stage, "stage"),
        "outcome": outcome,
        "reason": reason,
        "queue_ms": 1.5,
        "duration_ms": 40.0,
        "worker": "here/all/0",
        "messaging_destination_name": "routed",
        "messaging_kafka_partition": 1,
        "messaging_kafka_offset": 17,
    }
    return StageEvent(**fields | more)


def _attempt(**more):
    fields = {
        **_common("inference", "attempt-1"),
        "attempt_id": "acme/j1/0/0/1",
        "n": 1,
        "variant": "small",
        "tier": "A",
        "gen_ai_provider_name": "local",
        "gen_ai_request_model": "tiny",
        "gen_ai_response_model": "tiny-2026",
        "gen_ai_response_finish_reason": "stop",
        "gen_ai_usage_input_tokens": 100,
        "gen_ai_usage_output_tokens": 9,
        "gen_ai_usage_cached_tokens": None,
        "cost_usd": Decimal("0.00012"),
        "cost_unknown_because": None,
        "prompt_sha256": "f" * 64,
        "request_sha256": "1" * 64,
        "response_sha256": "2" * 64,
        "http_response_status_code": 200,
        "error_class": None,
        "error": None,
        "provider_request_id": None,
        "limits": {},
        "started_at": AT,
        "total_ms": 38.0,
    }
    return AttemptEvent(**fields | more)


def _job(**more):
    fields = {
        **_common("grading", "job"),
        "status": "accepted",
        "terminal": True,
        "reason": "confidence 0.93 ≥ 0.85",
        "confidence": 0.93,
        "variant": "small",
        "tier": "A",
        "gen_ai_response_model": "tiny-2026",
        "input_sha256": "3" * 64,
        "output_sha256": "4" * 64,
        "attempts": 1,
        "input_tokens": 100,
        "output_tokens": 9,
        "cost_usd": Decimal("0.00012"),
        "priced_cost_usd": Decimal("0.00012"),
        "unpriced_attempts": 0,
        "created_at": datetime(2026, 1, 1, 12, tzinfo=UTC),
        "deadline": datetime(2026, 1, 1, 13, tzinfo=UTC),
        "total_ms": 1000.0,
        "snapshot_id": None,
        "snapshot_version": None,
        "source_topic": "jobs",
        "source_partition": 4,
        "source_offset": 2,
    }
    return JobEvent(**fields | more)


RESPONSE = '{"choices": [{"message": {"content": "{\\"intent\\": \\"card_arrival\\"}"}}], "id": "r1"}'


@pytest.fixture
def job_row():
    """Give a function that makes the row of a job's end."""
    return _job


@pytest.fixture
def attempt_row():
    """Give a function that makes the row of a call."""
    return _attempt


@pytest.fixture
def trace_of():
    """Give a function that makes the trace of a job that was accepted on its first rung, or differs as told."""

    def make(**more):
        job = more.pop("job", _job())
        fields = {
            "tenant": "acme",
            "job_id": "j1",
            "job": job,
            "endings": () if job is None else (job,),
            "stages": (_stage("routing"), _stage("inference"), _stage("validation"), _stage("grading")),
            "decisions": (
                DecisionEvent(
                    **_common("routing", "decision"),
                    variant="small",
                    tier="A",
                    gen_ai_provider_name="local",
                    gen_ai_request_model="tiny",
                    reasons=("classify starts at tier A",),
                    skipped=("mid: switched off",),
                    without={"switches": "mid"},
                ),
            ),
            "calls": (Call(_attempt(), '{"messages": []}', RESPONSE),),
            "checks": (
                CheckEvent(
                    **_common("validation", "check-schema"),
                    check_name="schema",
                    check_version="1",
                    verdict="allow",
                    evidence="",
                    duration_ms=0.1,
                ),
            ),
            "grades": (
                GradeEvent(
                    **_common("grading", "grade"),
                    variant="small",
                    gen_ai_response_model="tiny-2026",
                    decision="accept",
                    reason="confidence 0.93 ≥ 0.85",
                    raw_confidence=0.97,
                    confidence=0.93,
                    accept_at=0.85,
                    climb_below=0.72,
                    calibration="isotonic n=1986 2026-01-01",
                    output_sha256="4" * 64,
                ),
            ),
            "dead_letters": (),
            "tools": (),
            "input": '{"text": "where is my card?"}',
            "output": '{"intent": "card_arrival"}',
        }
        return JobTrace(**fields | more)

    return make


@pytest.fixture
def dead_letter():
    """The row of a record that was given up on."""
    return DeadLetterEvent(
        time=AT,
        event_id="e",
        stage="intake",
        tenant="acme",
        job_id="j1",
        error_class="unreadable",
        message="expected a JSON object",
        messaging_destination_name="jobs",
        messaging_kafka_partition=0,
        messaging_kafka_offset=9,
    )

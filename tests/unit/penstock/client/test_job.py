import json
from decimal import Decimal

import pytest

from penstock.client import InvalidJob, make_snapshot
from penstock.client.job import prepare
from schemas.base import from_millis
from schemas.job import Job
from schemas.submission import origin_of, read_submission


def read(prepared):
    """The job as intake reads it."""
    origin = origin_of("jobs", 0, 0, prepared.key, prepared.headers)
    return read_submission(prepared.value, origin, from_millis(0)).payload


def test_the_smallest_job_is_what_any_language_would_send():
    """Workflow, input and an id are all that the record holds, as plain JSON."""
    prepared = prepare("banking_intent", {"text": "hällo"}, "j1", {})
    assert json.loads(prepared.value) == {"workflow": "banking_intent", "job_id": "j1", "input": {"text": "hällo"}}
    assert prepared.key == b"j1"


def test_what_is_sent_is_what_intake_reads():
    """Every field arrives at intake as it was given."""
    snapshot = make_snapshot("kb", "7", [{"id": "c1", "text": "Fees are 1 %."}])
    prepared = prepare(
        "qa",
        ["any", {"json": None}],
        None,
        {
            "tenant": "acme",
            "risk": "high",
            "messages": [{"role": "user", "content": "hi"}],
            "context": snapshot,
            "max_cost_usd": "0.05",
            "deadline_ms": 1000,
            "metadata": {"a": "b"},
        },
    )
    job = read(prepared).job
    assert isinstance(job, Job)
    assert (job.tenant, job.risk, job.input) == ("acme", "high", '["any",{"json":null}]')
    assert job.context == snapshot
    assert job.context.sha256 == job.context.content_sha256()
    assert job.max_cost_usd == Decimal("0.05")
    assert job.job_id == prepared.job_id


def test_ids_are_drawn_where_none_is_given():
    """Two submissions without a job_id are two jobs."""
    assert prepare("w", 1, None, {}).job_id != prepare("w", 1, None, {}).job_id


def test_headers_are_a_cloud_event_with_a_trace():
    """A repeated submission of a job has the trace of the first."""
    first, again = prepare("w", 1, "j1", {"tenant": "t"}), prepare("w", 1, "j1", {"tenant": "t"})
    headers = dict(first.headers)
    assert headers["ce_type"] == b"penstock.jobs"
    assert headers["content-type"] == b"application/json"
    assert headers["traceparent"].decode().split("-")[1] == first.trace_id == again.trace_id


def test_a_callers_trace_is_joined():
    """A W3C traceparent that the caller has becomes the job's."""
    given = f"00-{'1' * 32}-{'2' * 16}-01"
    assert prepare("w", 1, "j1", {"traceparent": given}).trace_id == "1" * 32


@pytest.mark.parametrize(
    ("workflow", "value", "fields", "said"),
    [
        ("Bad Name", 1, {}, "workflow"),
        ("w", float("nan"), {}, "JSON"),
        ("w", {"a": object()}, {}, "JSON"),
        ("w", 1, {"nonsense": 1}, "nonsense"),
        ("w", 1, {"risk": "colossal"}, "risk"),
        ("w", 1, {"tenant": "a b"}, "tenant"),
        ("w", 1, {"traceparent": "nope"}, "traceparent"),
    ],
)
def test_a_job_that_can_not_be_sent_is_refused_here(workflow, value, fields, said):
    """What intake would reject for its form is refused before it is published, and the field is named."""
    with pytest.raises(InvalidJob, match=said):
        prepare(workflow, value, None, fields)


def test_a_snapshot_names_the_chunk_that_is_wrong():
    """A chunk without an id can't be cited, so it makes no snapshot."""
    with pytest.raises(InvalidJob, match="id"):
        make_snapshot("kb", "1", [{"text": "x"}])

"""What intake reads out of a producer's record: the job, or what is wrong and whose it is."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from schemas.avro import Codec, Unreadable
from schemas.base import JsonText
from schemas.job import Job
from schemas.submission import MAX_JOB_BYTES, origin_of, read_submission

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
JOB = {"workflow": "sorting", "input": {"text": "x"}}


def read(value, headers=(), tenant="default"):
    value = value if isinstance(value, bytes) else json.dumps(value).encode()
    return read_submission(value, origin_of("jobs", 2, 40, b"key", headers), NOW, tenant)


def problem(value):
    envelope = read(value)
    assert envelope.payload.job is None
    return envelope.payload.problem


def test_the_smallest_job_has_all_that_is_needed():
    """Workflow and input suffice: id, tenant, deadline and trace follow from the record's address and time."""
    head, job = read(JOB).head, read(JOB).payload.job
    assert (head.job_id, head.tenant, head.workflow) == ("jobs-2-40", "default", "sorting")
    assert (head.created_at, head.deadline) == (NOW, NOW + timedelta(hours=1))
    assert (job.input, head.origin.key) == ('{"text":"x"}', b"key")


def test_the_same_record_read_again_is_the_same_job():
    """Identity and trace are derived, so a redelivery can't become another job."""
    assert read(JOB) == read(JOB)


def test_what_a_producer_says_about_a_job_is_in_its_head():
    """Identity, risk, limits and segments are the producer's; a user's job has half a minute."""
    said = {
        "job_id": "j",
        "tenant": "acme",
        "user": "u",
        "session": "s",
        "risk": "high",
        "segments": {"language": "de"},
    }
    head = read(JOB | said | {"audience": "user"}).head
    assert {name: getattr(head, name) for name in said} == said
    assert head.deadline == NOW + timedelta(seconds=30)
    assert read(JOB | {"deadline_ms": 5}).head.deadline == NOW + timedelta(milliseconds=5)
    assert read(JOB, tenant="the-topic-s").head.tenant == "the-topic-s"


def test_null_says_as_much_as_absence():
    """Languages that write every field as null need not leave any out."""
    nulls = dict.fromkeys(set(Job.model_fields) - {"workflow", "input"})
    assert read(JOB | nulls).payload.job == read(JOB).payload.job


def test_a_time_without_a_zone_is_utc_and_any_zone_becomes_utc():
    """A snapshot's times mean the same on every machine, and after any number of stages."""
    snapshot = {"id": "s", "version": "1", "sha256": "0" * 64, "taken_at": "2026-01-01T01:00:00+01:00"}
    job = read(JOB | {"context": snapshot | {"valid_until": "2026-01-02T00:00:00"}}).payload.job
    assert job.context.taken_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert job.context.valid_until == datetime(2026, 1, 2, tzinfo=UTC)
    codec = Codec("Job", Job)
    assert codec.decode(codec.encode(job)) == job


WRONG = {
    "no workflow": ({"input": 1}, "workflow: is missing; a job needs at least workflow and input"),
    "no input": ({"workflow": "w"}, "input: is missing"),
    "name of no workflow": (JOB | {"workflow": "A B"}, "workflow: String should match pattern"),
    "unknown field": (JOB | {"inputs": 1}, "inputs: is no field of a job; put values of your own into metadata"),
    "wrong type": (JOB | {"segments": ["x"]}, "segments: Input should be a valid dictionary, found \"['x']\""),
    "unknown symbol": (JOB | {"priority": "urgent"}, "priority: Input should be 'normal', 'high' or 'low'"),
    "id with a blank": (JOB | {"job_id": "a b"}, "job_id: String should match pattern"),
    "id with a line end": (JOB | {"job_id": "a\n"}, "job_id: String should match pattern"),
    "long id": (JOB | {"job_id": "x" * 201}, "job_id: String should have at most 200 characters"),
    "number as id": (JOB | {"job_id": 5}, "job_id: Input should be a valid string, found '5'"),
    "no time left": (JOB | {"deadline_ms": 0}, "deadline_ms: Input should be greater than 0"),
    "too long a deadline": (JOB | {"deadline_ms": 10**12}, "deadline_ms: Input should be less than or equal to"),
    "huge number": (JOB | {"max_latency_ms": 10**30}, "max_latency_ms: Input should be less than or equal to"),
    "negative money": (JOB | {"max_cost_usd": "-1"}, "max_cost_usd: Input should be greater than or equal to 0"),
    "too fine money": (JOB | {"max_cost_usd": "1e-10"}, "max_cost_usd: Decimal input should have no more than 9"),
    "money that is no number": (JOB | {"max_cost_usd": "NaN"}, "max_cost_usd: Input should be a finite number"),
    "hash that is none": (JOB | {"context": {"sha256": "x"}}, "context.sha256: String should match pattern"),
    "date before dates": (
        JOB | {"context": {"taken_at": "0001-01-01T00:00:00+12:00"}},
        "context.taken_at: 0001-01-01T00:00:00+12:00 lies before the year 1",
    ),
    "NaN": (b'{"workflow": "w", "input": NaN}', "the record is not valid JSON: expected value at line 1"),
    "1e999": (b'{"workflow": "w", "input": [1e999]}', "input: Out of range float values"),
    "1e999 in messages": (b'{"workflow": "w", "input": 1, "messages": 1e999}', "messages: Out of range float values"),
    "lone surrogate": (b'{"workflow": "w", "input": "\\ud800"}', "not valid JSON"),
    "control character": (b'{"workflow": "w", "input": "\x00"}', "control character"),
    "duplicate key": (b'{"workflow": "w", "input": {"a": 1, "a": 2}}', 'Detected duplicate key "a"'),
    "depth": (b'{"workflow": "w", "input": %s}' % (b"[" * 500 + b"]" * 500), "recursion limit exceeded"),
    "byte order mark": (b"\xef\xbb\xbf" + json.dumps(JOB).encode(), "not valid JSON"),
    "UTF-16": (json.dumps(JOB).encode("utf-16"), "not valid JSON"),
    "too large": (JOB | {"input": "x" * MAX_JOB_BYTES}, "too_large: the record has 10486"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_object_that_is_no_job_is_told_why(name):
    """The sentence names the field, what was found and what is expected."""
    value, sentence = WRONG[name]
    assert sentence in problem(value)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, "the record is empty"),
        (b"", "the record is empty"),
        (b"hello", "5 bytes starting with b'hello'"),
        (b"{", "1 bytes starting with b'{'"),
        (b"[{}]", "expected a JSON object, found a list"),
        (b'"x"', "expected a JSON object, found a str"),
        (b"null", "expected a JSON object, found a NoneType"),
        (b'{"workflow": "\xff"}', "invalid unicode code point"),
        (b"{} {}", "trailing characters"),
        (b'{"n": %s}' % (b"9" * 5000), "number out of range"),
        (b"\xc3\x01", "none of the 2 released versions"),
        (b"\xc3\x01" + b"\x22" * 30, "2222222222222222"),
    ],
)
def test_what_is_no_object_is_unreadable(value, found):
    """Nobody can be told, so the error says what was found."""
    with pytest.raises(Unreadable) as caught:
        read_submission(value, origin_of("jobs", 0, 0, None, ()), NOW)
    assert found in str(caught.value)


def test_a_record_too_deep_for_any_reader_ends_one_way_or_the_other():
    """10,000 levels are unreadable, or a problem where the Python at hand still finds the object."""
    value = b'{"workflow": "w", "job_id": "j", "input": %s}' % (b"[" * 10_000 + b"]" * 10_000)
    try:
        said = read(value).payload.problem
    except Unreadable as unreadable:
        said = str(unreadable)
    assert "recursion limit exceeded" in said


@pytest.mark.parametrize("bad", ["a b", "", "x" * 201, "a\x00", "\ud800", 5, None, ["x"]])
def test_an_id_that_can_t_serve_is_replaced_by_the_address(bad):
    """A result needs an id that can be a key and a header; what the producer wrote is in the reason."""
    value = b'{"job_id": %s, "tenant": %s}' % ((json.dumps(bad).encode(),) * 2)
    head = read(value).head
    assert (head.job_id, head.tenant) == ("jobs-2-40", "default")


def test_a_wrong_record_is_identified_by_what_can_be_read_of_it():
    """Id, tenant and workflow of a record that is no valid JSON are those it names."""
    head = read(b'{"job_id": "j", "tenant": "acme", "workflow": "w", "input": NaN}').head
    assert (head.job_id, head.tenant, head.workflow) == ("j", "acme", "w")


def test_an_avro_job_is_read_like_a_json_one():
    """Both spellings of a job are the same job, with its JSON in canonical form."""
    written = Job(workflow="sorting", input=JsonText('{ "text" : "x" }'), job_id="j", tenant="acme")
    assert (
        read(Codec("Job", Job).encode(written)).payload.job == read(JOB | {"job_id": "j", "tenant": "acme"}).payload.job
    )


@pytest.mark.parametrize("part", ["input", "messages"])
@pytest.mark.parametrize("text", ["", "{", "NaN", '{"a": 1, "a": 2}'])
def test_an_avro_job_whose_text_is_no_json_is_told_so(part, text):
    """The JSON inside Avro is checked where it comes in, and the job is still known."""
    fields = {"workflow": "sorting", "input": "{}", "job_id": "j"} | {part: text}
    envelope = read(Codec("Job", Job).encode(Job.model_construct(**fields)))
    assert envelope.payload.problem.startswith(f"{part}: is not valid JSON: ")
    assert (envelope.head.job_id, envelope.head.workflow) == ("j", "sorting")


def test_the_producer_s_trace_goes_on():
    """A valid traceparent is kept."""
    trace = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
    assert read(JOB, (("traceparent", trace.encode()),)).head.trace == trace

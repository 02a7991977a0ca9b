"""Intake's reading of producers' records: any bytes, any fields, any headers."""

import json
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.avro import Codec, Unreadable
from schemas.envelope import Envelope
from schemas.job import Job
from schemas.stages import Admitted, Decided, Status
from schemas.submission import origin_of, read_submission, undecided_job

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ADMITTED = Codec("AdmittedRecord", Envelope[Admitted])
JOB = Codec("Job", Job)

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-01-01T00:00:00", "a b", "0" * 64]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
SNAPSHOT = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("id", "version", "taken_at", "valid_until", "sha256", "chunks"), ANYTHING),
)
FIELDS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys((*Job.model_fields, "other"), ANYTHING)
    | {"workflow": ANYTHING | st.just("sorting"), "context": ANYTHING | SNAPSHOT},
)
HEADERS = st.lists(
    st.tuples(st.sampled_from(["traceparent", "x", "penstock-origin"]), st.none() | st.binary(max_size=60)), max_size=3
).map(tuple)


def next_stage_reads(envelope):
    """What intake hands on, admitted or decided, as routing reads it."""
    for decided in (None, Decided(status=Status.REJECTED, reason=envelope.payload.problem or "")):
        if decided is None and envelope.payload.job is None:
            continue
        job = undecided_job(envelope.payload, envelope.head.workflow)
        sent = Envelope[Admitted](head=envelope.head, payload=Admitted.model_construct(job=job, decided=decided))
        assert ADMITTED.decode(ADMITTED.encode(sent)) == sent


def read(value, headers=()):
    """The envelope of a record, which is the same at every reading; nothing if nobody can read it."""
    origin = origin_of("jobs", 3, 41, b"key", headers)
    try:
        envelope = read_submission(value, origin, NOW)
    except Unreadable:
        return None
    assert read_submission(value, origin, NOW) == envelope
    assert (envelope.payload.job is None) == (envelope.payload.problem is not None)
    return envelope


@given(FIELDS, HEADERS)
@settings(deadline=None, max_examples=120)
def test_any_object_is_a_job_or_a_sentence_and_can_travel_on(fields, headers):
    """Whatever an object holds, it is identified, and the next stage can read what is handed to it."""
    envelope = read(json.dumps(fields).encode(), headers)
    assert envelope is not None
    assert envelope.head.job_id
    assert len(envelope.head.trace_id) == 32
    next_stage_reads(envelope)


@given(st.binary(max_size=100) | st.text(alphabet='{}[]",:0123456789eE+-. \\uabntrfl\x00', max_size=60).map(str.encode))
@settings(deadline=None, max_examples=120)
def test_any_bytes_are_read_or_unreadable(value):
    """No bytes raise anything but Unreadable."""
    if (envelope := read(value)) is not None:
        next_stage_reads(envelope)


@given(st.text(max_size=30), st.none() | st.text(max_size=30), st.integers(0, 60), st.integers(0, 255))
@settings(deadline=None, max_examples=80)
def test_any_avro_job_is_read_or_unreadable(text, messages, place, byte):
    """An Avro job whose JSON texts are none is told so; a damaged one is unreadable or read as what it then says."""
    data = JOB.encode(Job.model_construct(workflow="sorting", input=text, messages=messages, job_id="j1"))
    envelope = read(data)
    assert envelope is not None
    assert envelope.head.job_id == "j1"
    next_stage_reads(envelope)
    damaged = bytearray(data)
    damaged[min(place, len(data) - 1)] = byte
    if (envelope := read(bytes(damaged))) is not None:
        next_stage_reads(envelope)

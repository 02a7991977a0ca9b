"""What becomes of a dead letter: a new job with an id of its own, a record put back, or a reason why neither."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from schemas.avro import Codec
from schemas.base import JsonText
from schemas.dead_letter_events import DeadLetterActionEvent
from schemas.envelope import Envelope, Head, Header, Origin
from schemas.job import Audience, Chunk, Job, Risk, Snapshot
from schemas.stages import Decision, Held, Routed, Tier
from schemas.submission import MAX_JOB_BYTES, origin_of, read_submission
from streams.assignment import Assignment
from streams.dead_letters import ACTIONS, State, Wanted, contents, read_letter, state_of
from streams.dispatch import dead_letter
from streams.errors import LetterUnfit
from streams.records import Address, Delivery, Raw
from streams.redrive import Deed, drop, redrive
from streams.stage import Moment
from streams.topics import HELD, ROUTED

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DEED = Deed("ops", "the bug is mended", NOW)
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
CHUNKS = (Chunk(id="c1", text="Überweisung", source="faq", score=0.5),)
SNAPSHOT = Snapshot(id="kb", version="7", taken_at=NOW, sha256="0" * 64, chunks=CHUNKS)
JOB = Job(
    workflow="w",
    input=JsonText('{"text":"é","n":1.50}'),
    messages=JsonText('[{"role":"user","content":"hi"}]'),
    job_id="j1",
    idempotency_key="once",
    context=SNAPSHOT.model_copy(update={"sha256": SNAPSHOT.content_sha256()}),
    segments={"language": "de"},
    risk=Risk.HIGH,
    deadline_ms=60_000,
    max_cost_usd=Decimal("0.010000000"),
    audience=Audience.USER,
    metadata={"order": "17"},
)
HEAD = Head(
    tenant="acme",
    job_id="j1",
    workflow="w",
    created_at=NOW,
    deadline=NOW,
    trace=TRACE,
    origin=Origin(
        topic="jobs.high",
        partition=1,
        offset=5,
        key=b"mine",
        headers=(Header(name="shop", value=b"7"), Header(name="ce_id", value=b"x"), Header(name="traceparent")),
    ),
)
ROUTED_JOB = Routed(job=JOB, decision=Decision(variant="s", tier=Tier.A, provider="p", model="m"))


def letter(value, topic="routed", head=HEAD, headers=(), stage="inference", key=b"k"):
    taken = Delivery(Address(topic, 2, 40), 1000, Raw(key, value, headers), Assignment(topic, 2))
    (record,) = dead_letter(stage, "g", taken, KeyError("x"), Moment(NOW, 0, 0, "w", 0, 0), head=head).records
    return read_letter(Address("dead-letters", 1, 7), 1000, Raw(record.key, record.value, record.headers))


@pytest.fixture
def routed():
    """The dead letter of a job that inference has failed on."""
    return letter(ROUTED.encode(Envelope(head=HEAD, payload=ROUTED_JOB)))


def test_a_job_becomes_a_new_job_that_names_the_old(routed):
    """All that the producer asked for is asked again, under a new id, with its key, headers and trace."""
    done = redrive(routed, DEED, 1)
    record, audit, trace = done.records
    sent = json.loads(record.value)
    assert (record.topic, record.key, trace.topic) == ("jobs", b"mine", "traces")
    assert sent["job_id"] == done.action.new_job_id != "j1"
    assert sent["job_id"].startswith("j1.redrive-")
    assert (sent["metadata"], sent["tenant"]) == ({"order": "17", "redrive_of": "j1"}, "acme")
    headers = dict(record.headers)
    assert (headers["shop"], headers["traceparent"]) == (b"7", TRACE.encode())
    assert headers["penstock-redrive-of"] == b"dead-letters/1/7"
    assert len(headers) == len(record.headers), "a header is there twice"
    assert ACTIONS.decode(audit.value) == done.action
    assert (audit.topic, audit.key) == ("dead-letter-actions", b"dead-letters/1/7")


def test_intake_reads_of_a_redriven_job_what_the_first_one_said(routed):
    """Only its id, its metadata, its tenant and its idempotency key, which was used up, are others."""
    record = redrive(routed, DEED, 1).records[0]
    read = read_submission(record.value, origin_of("jobs", 0, 1, record.key, record.headers), NOW)
    job, texts = read.payload.job, ("input", "messages")
    again = {"job_id": "j1", "metadata": JOB.metadata, "tenant": None, "idempotency_key": "once"}
    assert read.payload.problem is None
    assert job.model_copy(update=again) == JOB.model_copy(update={text: getattr(job, text) for text in texts})
    assert all(json.loads(getattr(job, text)) == json.loads(getattr(JOB, text)) for text in texts)
    assert read.payload.job.context.content_sha256() == JOB.context.sha256
    assert (read.head.trace, read.head.tenant) == (TRACE, "acme")


def test_each_redrive_has_an_id_of_its_own_and_a_repeat_the_same(routed):
    """The id is made of the letter and of how often it was dealt with: never by chance."""
    ids = [redrive(routed, DEED, n).action.new_job_id for n in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]
    long = letter(ROUTED.encode(Envelope(head=HEAD.model_copy(update={"job_id": "j" * 200}), payload=ROUTED_JOB)))
    assert len(redrive(long, DEED, 1).action.new_job_id) == 200


def test_a_producers_record_that_a_bug_hit_is_a_new_job_too():
    """Intake's own dead letters hold jobs as producers write them; an id that was absent was made of the address."""
    done = redrive(letter(b'{"workflow": "w", "input": 1, "priority": "high"}', "jobs"), DEED, 1)
    sent = json.loads(done.records[0].value)
    assert sent["metadata"] == {"redrive_of": "jobs-2-40"}
    assert (sent["input"], sent["priority"], sent["tenant"]) == (1, "high", "default")


def test_a_job_that_could_not_wait_for_a_person_is_a_new_job_too():
    """It is tried from the start: whether it must wait again is decided anew."""
    held = Held(job=JOB, stage="grading", reason="unsure", escalation_id="acme/j1/0/0", expires_at=NOW)
    done = redrive(letter(HELD.encode(Envelope(head=HEAD, payload=held)), "held", stage="reviews"), DEED, 1)
    assert (done.records[0].topic, json.loads(done.records[0].value)["metadata"]["redrive_of"]) == ("jobs", "j1")


@pytest.mark.parametrize(
    ("refused", "says"),
    [
        (letter(b'{"workflow": "w", "job_id": "j"}', "jobs"), "input: is missing.*Let the producer mend it"),
        (letter(b"x", "retries.10s"), "nothing is put back to retries.10s"),
        (letter(b"x", ""), "nothing is put back to a topic without a name"),
        (replace(letter(b"\xff", "jobs"), cut="value (9 bytes)"), "value .9 bytes. did not fit.*lies at jobs/2/40"),
        (letter(b'{"workflow": "w", "input": "%s"}' % (b"x" * (MAX_JOB_BYTES - 50)), "jobs"), "its job would have"),
    ],
    ids=["misfit", "waiting", "nameless", "cut", "large"],
)
def test_what_can_not_be_redriven_says_why(refused, says):
    """The reason and the mend, with the letter's address."""
    with pytest.raises(LetterUnfit, match=f"dead-letters/1/7: .*{says}"):
        redrive(refused, DEED, 1)


def test_an_unreadable_record_between_stages_is_put_back(routed):
    """What a newer version wrote can be read after an upgrade; rows that the warehouse refused, after a mend."""
    for topic in ("routed", "held", "verdicts", "traces"):
        record = redrive(letter(b"\xc3\x01 newer", topic, head=None), DEED, 1).records[0]
        assert (record.topic, record.key, record.value) == (topic, b"k", b"\xc3\x01 newer")


def test_contents_say_what_is_wrong(routed):
    """Readable is what its stage could read."""
    assert contents(routed).job == JOB
    assert "expected an Avro single object" in contents(letter(b"junk")).problem
    assert contents(letter(b"x", "traces")).problem == "records of traces hold no job"


def test_the_newest_action_is_a_letters_state(routed):
    """Open until somebody deals with it; what was dropped can be redriven again."""
    actions = {}
    assert state_of(routed, actions) is State.OPEN
    for n, (deed, state) in enumerate(((drop, State.DROPPED), (redrive, State.REDRIVEN)), 1):
        action = deed(routed, DEED, n).action
        assert DeadLetterActionEvent.model_validate(action.model_dump()) == action
        assert action.event_id == f"dead-letters/1/7/{n}"
        actions[action.letter] = action
        assert state_of(routed, actions) is state


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (Wanted(), True),
        (Wanted(stage="inference", error_class="KeyError", topic="routed", tenant="acme"), True),
        (Wanted(stage="intake"), False),
        (Wanted(tenant="other"), False),
        (Wanted(since=datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)), True),
        (Wanted(since=datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)), False),
    ],
)
def test_filters_are_all_meant(routed, wanted, fits):
    """A letter must agree with everything that is given."""
    assert wanted.fits(routed) is fits
    assert bool(wanted) is (wanted != Wanted())


def test_an_avro_job_is_redriven_as_json():
    """Whatever a producer wrote, intake reads the same job."""
    value = Codec("Job", Job).encode(JOB)
    sent = json.loads(redrive(letter(value, "jobs.low"), DEED, 1).records[0].value)
    assert sent["input"] == json.loads(JOB.input)
    assert sent["context"]["chunks"][0]["text"] == "Überweisung"

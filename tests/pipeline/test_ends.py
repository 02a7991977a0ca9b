"""How a job or a record ends: every terminal status that can be reached, dead letters, and bugs."""

import asyncio
import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from processors.providers.calls import MAX_RESPONSE_BYTES
from processors.providers.scripted import Canned, answer
from schemas.avro import Codec
from schemas.base import JsonText, json_text, sha256_hex
from schemas.control import SwitchKind
from schemas.job import Job
from schemas.side import SnapshotVersion
from schemas.stages import Status
from schemas.submission import MAX_JOB_BYTES
from streams.bugs import BUGS_PER_MINUTE
from streams.call_rows import MAX_TEXT
from streams.errors import TooManyBugs
from streams.topics import MAX_BYTES, MAX_OWN_BYTES

ROOT = Path(__file__).parents[2]
PAST = "2026-01-02T00:00:00Z"


async def accepted(line, snapshot):
    """The answer is trusted."""
    line.submit("j1")
    return "confidence 0.990"


async def rejected(line, snapshot):
    """The input does not fit the workflow's schema."""
    line.publish({"workflow": "sorting", "input": {"text": 5}, "job_id": "j1"})
    return "/text: 5 is not of type"


async def stale_context(line, snapshot):
    """The snapshot was valid until a time that is over."""
    line.submit("j1", context=snapshot(valid_until=PAST))
    return "was valid until 2026-01-02"


async def over_budget(line, snapshot):
    """The cheapest rung could cost more than the job allows."""
    line.submit("j1", max_cost_usd="0.000001")
    return "it could cost"


async def expired(line, snapshot):
    """Nothing answers, and there is no time for another round."""
    line.script = lambda _: Canned(status=503)
    line.submit("j1", deadline_ms=9_000)
    return "no time for another round"


async def failed(line, snapshot):
    """A bug, here in the provider."""

    def explode(request):
        raise ZeroDivisionError("made up")

    line.script = explode
    line.submit("j1")
    return "ZeroDivisionError in inference; the record is the dead letter of routed/"


async def duplicate(line, snapshot):
    """Another job has used the idempotency key before."""
    line.submit("j0", idempotency_key="order-7")
    await line.result("j0")
    line.submit("j1", idempotency_key="order-7")
    return "idempotency key 'order-7' was used before, by job j0"


OPEN = """
[fallback]
output = { intent = "found" }

[failure]
accept_unverified = ["schema"]
"""


def opened(line):
    """Let the workflow fail open, from now on."""
    files = line.bundle.files
    settings = files["workflow.toml"].replace('owner = "someone"', 'owner = "someone"\nfailure_mode = "open"')
    line.release(files | {"workflow.toml": settings + OPEN})


async def fallback_answer(line, snapshot):
    """No model may be asked, and the workflow fails open."""
    opened(line)
    for provider in ("near", "far"):
        line.kill(SwitchKind.PROVIDER, provider)
    line.submit("j1")
    return "provider fails open: the fallback answers"


async def accepted_unverified(line, snapshot):
    """A check that the workflow can do without is killed, and it fails open."""
    opened(line)
    line.kill(SwitchKind.CHECK, "schema")
    line.submit("j1")
    return "check fails open: accepted without schema"


ENDS = (
    accepted,
    rejected,
    stale_context,
    over_budget,
    expired,
    failed,
    duplicate,
    fallback_answer,
    accepted_unverified,
)
BY_VERDICT = {"accepted_after_review", "corrected"}
"""Reached by a person's verdict: test_reviews.py."""


async def test_a_superseded_context_is_asked_for_again(line, snapshot):
    """While the model answers a newer version is told of: no answer leaves, and the sender is asked, once."""
    files = line.bundle.files
    line.release(files | {"workflow.toml": files["workflow.toml"] + "\n[context]\nask_again = true\n"})
    context = snapshot()
    newer = datetime.fromisoformat(context["taken_at"]) + timedelta(seconds=1)

    def overtaken(request):
        line.history.on_snapshot(SnapshotVersion(snapshot_id=context["id"], version="newer", at=newer))
        return answer('{"intent":"lost"}', model=request.model.id)

    line.script = overtaken
    line.submit("j1", context=context)
    result = await line.result("j1")
    assert result["status"] == "stale_context"
    assert "is superseded by version newer" in result["reason"]
    (asked,) = line.values("context-requests")
    assert (asked["job_id"], asked["snapshot_id"], asked["job"]["input"]) == ("j1", context["id"], {"text": "my card"})
    assert asked["reason"] == result["reason"]


async def test_what_a_job_brought_is_on_record(line, snapshot):
    """Each chunk of the context is a row, with its source's age where the job says when that changed."""
    chunks = [
        {"id": "c1", "text": "Cards arrive in five days.", "source": "faq", "index_version": "7", "score": 0.5},
        {"id": "c2", "text": "Or in six.", "source": "forum", "source_updated_at": "2026-01-01T00:00:00Z"},
    ]
    content = [[chunk["id"], chunk["text"], None, chunk["source"]] for chunk in chunks]
    line.submit("j1", context=snapshot(chunks=chunks, sha256=sha256_hex(json_text(content))))
    await line.result("j1")
    first, second = sorted(line.rows("chunks", "j1"), key=lambda row: row["chunk_id"])
    assert (first["chunk_id"], first["index_version"], first["score"], first["age_s"]) == ("c1", "7", 0.5, None)
    assert (second["chunk_id"], second["source"]) == ("c2", "forum")
    assert second["age_s"] > 86_400


@pytest.mark.parametrize("provoke", ENDS, ids=lambda provoke: provoke.__name__)
async def test_every_status_ends_a_job_once_with_its_reason(line, snapshot, provoke):
    """The status, a reason that a person understands, one terminal row that says the same, and nothing left in work."""
    reason = await provoke(line, snapshot)
    result = await line.result("j1")
    assert (result["status"], result["workflow"]) == (provoke.__name__, "sorting")
    spoken = result["reason"] or result["decision_path"][-1]["reason"]
    assert reason in spoken
    (row,) = line.rows("jobs", "j1")
    assert (row["status"], row["terminal"], row["reason"]) == (result["status"], True, result["reason"])
    await line.until(lambda: not line.unfinished())


def test_the_list_of_statuses_is_complete():
    """Whoever makes another status reachable adds how it is reached to this file."""
    sources = [*(ROOT / "processors").rglob("*.py"), *(ROOT / "streams").rglob("*.py")]
    named = {name for path in sources for name in re.findall(r"\bStatus\.([A-Z_]+)\b", path.read_text())}
    assert {Status[name].value for name in named} == {provoke.__name__ for provoke in ENDS} | BY_VERDICT


async def test_a_snapshot_that_was_changed_is_rejected(line, snapshot):
    """Intake proves the snapshot's hash and says what it should have been."""
    good = snapshot()
    line.submit("good", context=good)
    line.submit("j1", context=good | {"sha256": "0" * 64})
    assert (await line.result("good"))["snapshot"] == {"id": "faq", "version": "3", "valid_until": None}
    result = await line.result("j1")
    assert result["status"] == "rejected"
    assert f"found {good['sha256']}" in result["reason"]


async def test_a_rejection_stands_however_late_routing_reads_it(line):
    """What intake has decided is not turned into an expiry on the way."""
    await replaced(line, "intake", lambda intake: Slow(intake, line.clock))
    line.publish({"workflow": "nope", "input": {}, "job_id": "j1", "deadline_ms": 60_000})
    result = await line.result("j1")
    assert (result["status"], result["reason"]) == ("rejected", "there is no workflow 'nope'")
    line.submit("j2", deadline_ms=60_000)
    assert (await line.result("j2"))["status"] == "expired"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"input": {"text": "x"}, "job_id": "j1"}, "workflow: is missing"),
        ({"workflow": "Not A Name", "input": {"text": "x"}, "job_id": "j1"}, "workflow: String should match"),
        ({"workflow": "sorting", "job_id": "j1"}, "input: is missing"),
        ({"workflow": "sorting", "input": None, "job_id": "j1"}, "input: is missing"),
        ({"workflow": "sorted", "input": {}, "job_id": "j1"}, "there is no workflow 'sorted'; near: sorting"),
        ({"workflow": "sorting", "input": {}, "job_id": "j1", "max_latency_ms": 10**30}, "max_latency_ms: "),
        ({"workflow": "sorting", "input": {}, "job_id": "j1", "reply_topic": "x"}, "not_permitted: no reply may go"),
        ({"workflow": "sorting", "input": {"text": ""}, "job_id": "j1", "messages": [1]}, "messages/0: expected"),
        (b'{"workflow": "sorting", "job_id": "j1", "input": {"text": NaN}}', "not valid JSON"),
        (b'{"workflow": "sorting", "job_id": "j1", "input": {"text": 1e999}}', "input: Out of range"),
        (b'{"workflow": "sorting", "job_id": "j1", "input": {"text": "\\ud800"}}', "not valid JSON"),
        (b'{"workflow": "sorting", "job_id": "j1", "input": {"text": "\x07"}}', "control character"),
        (b'{"workflow": "sorting", "job_id": "j1", "input": {"text": "x", "text": "y"}}', 'duplicate key "text"'),
        (
            Codec("Job", Job).encode(Job(workflow="sorting", input=JsonText("{oops"), job_id="j1")),
            "input: is not valid JSON",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
async def test_whoever_can_be_told_is_told_what_is_wrong(line, value, reason):
    """A record that names its job gets one rejected result that says what is wrong, and no dead letter."""
    line.publish(value)
    result = await line.result("j1")
    assert (result["status"], result["output"]) == ("rejected", None)
    assert reason in result["reason"]
    assert not line.broker.records("dead-letters")
    await line.until(lambda: not line.unfinished())


async def test_a_large_record_is_rejected_and_does_not_travel(line):
    """A body above the limit ends as too_large; its content is carried neither between stages nor into the traces."""
    line.submit("j1", "x" * 5_000_000)
    result = await line.result("j1")
    assert result["status"] == "rejected"
    assert result["reason"].startswith("too_large: the record has 5000")
    others = [raw for (topic, _), log in line.broker.logs.items() for _, raw in log if topic != "jobs"]
    assert max(len(raw.value) for raw in others) < 10_000


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"", "the record is empty"),
        (b"hello", "5 bytes starting with b'hello'"),
        (b"[1, 2]", "found a list"),
        (b"\xc3\x01" + bytes(40), "none of the 2 released versions"),
        (b'{"workflow": "sorting", "input": "\xff"}', "invalid unicode"),
    ],
)
async def test_a_record_that_nobody_can_read_is_one_dead_letter(line, value, found):
    """Key, value and headers are kept untouched beside what was found; jobs before and after it go on."""
    line.submit("before")
    address = line.publish(value, key=b"k", headers=(("mine", b"\xff"),))
    line.submit("after")
    await line.result("before")
    await line.result("after")
    await line.until(lambda: line.broker.records("dead-letters"))
    (letter,) = line.broker.records("dead-letters")
    headers = dict(letter.headers)
    assert (letter.key, letter.value, headers["mine"]) == (b"k", value, b"\xff")
    assert found in headers["__dlq.errors.message"].decode()
    assert (headers["__dlq.errors.topic"], headers["__dlq.errors.offset"]) == (b"jobs", b"%d" % address.offset)
    (row,) = line.stored().rows("dead_letters")
    assert (row["stage"], row["error_class"], row["messaging_kafka_offset"]) == ("intake", "Unreadable", address.offset)
    assert set(line.results()) == {"before", "after"}


@pytest.mark.parametrize("told", [b"jobs/\xc2\xb2/1", b"jobs/0/" + b"9" * 30, b"jobs/x", b"\xff", b"elsewhere/0/1"])
async def test_a_forged_origin_is_not_believed(line, told):
    """A producer's header that looks like ours but names no address leaves the record at its own."""
    address = line.publish({"workflow": "sorting", "input": {"text": "x"}}, headers=(("penstock-origin", told),))
    assert (await line.result(str(address).replace("/", "-")))["status"] == "accepted"
    assert line.stored().rows("jobs")[0]["source_offset"] == address.offset


class Broken:
    """A processor with a bug for some jobs."""

    def __init__(self, works, breaks):
        self.works, self.breaks = works, breaks

    async def __call__(self, envelope):
        if self.breaks(envelope.head.job_id):
            raise KeyError("made up")
        return await self.works(envelope)


class Slow:
    """A processor after whose outcome two minutes pass."""

    def __init__(self, works, clock):
        self.works, self.clock = works, clock

    async def __call__(self, envelope):
        outcome = await self.works(envelope)
        self.clock.move(120)
        return outcome


async def replaced(line, stage, by):
    """Let the worker run with another processor in one stage."""
    await line.stop()
    works = next(one.runs for one in line.worker.stages if one.name == stage)
    line.replaced = {stage: by(works)}
    line.start()


@pytest.mark.parametrize("stage", ["intake", "routing", "inference", "validation", "grading"])
async def test_a_bug_costs_one_job_and_says_so(line, stage):
    """The record becomes a dead letter, its job fails with the dead letter's address, the others go on."""
    await replaced(line, stage, lambda works: Broken(works, lambda job_id: job_id == "bad"))
    for job_id in ("good", "bad", "better"):
        line.submit(job_id)
    ends = {job_id: await line.result(job_id) for job_id in ("good", "bad", "better")}
    assert {job_id: end["status"] for job_id, end in ends.items()} == {
        "good": "accepted",
        "bad": "failed",
        "better": "accepted",
    }
    (letter,) = line.broker.records("dead-letters")
    headers = {name: value.decode() for name, value in letter.headers}
    place = "/".join(headers[f"__dlq.errors.{part}"] for part in ("topic", "partition", "offset"))
    assert ends["bad"]["reason"] == f"KeyError in {stage}; the record is the dead letter of {place}"
    assert (headers["penstock-stage"], headers["penstock-retryable"]) == (stage, "true")
    (row,) = line.rows("dead_letters", "bad")
    assert (row["stage"], row["error_class"]) == (stage, "KeyError")


async def test_too_many_bugs_stop_the_worker_before_the_commit(line):
    """Beyond the limit the process ends with a clear error, and what it had in work is there for a better version."""
    await replaced(line, "grading", lambda works: Broken(works, lambda _: True))
    count = BUGS_PER_MINUTE + 30
    for n in range(count):
        line.submit(f"j{n}")
    with pytest.raises(TooManyBugs, match=r"grading: 51 records failed by a bug.*KeyError: 'made up'"):
        async with asyncio.timeout(20):
            await line.running
    failed_jobs = set(line.results())
    assert len(line.broker.records("dead-letters")) == len(failed_jobs) <= BUGS_PER_MINUTE
    line.replaced = {}
    line.start()
    await line.until(lambda: len(line.results()) == count)
    ends = [result["status"] for job_id, result in line.results().items() if job_id not in failed_jobs]
    assert set(ends) == {"accepted"}
    await line.until(lambda: not line.unfinished())


async def test_a_provider_that_answers_nonsense_ends_in_no_bug(line):
    """Bodies that are no completion are failures of the attempt; the job climbs, waits or is handed to a person."""
    bodies = iter([b"", b"<html>", b"[]", b'{"choices": []}', b'{"choices": [{"message": {"content": 5}}]}'])
    line.script = lambda request: (
        answer('{"intent":"lost"}', request.model.id)
        if (body := next(bodies, None)) is None
        else Canned(body, status=200)
    )
    line.submit("j1")
    for rounds in (1, 2):
        await line.until(lambda: len(line.broker.records("retries.10s")) == rounds)  # noqa: B023 -- awaited at once
        line.clock.move(10)
    assert (await line.result("j1"))["status"] == "accepted"
    assert line.waits == [0.5, 1.0, 0.5]
    assert not line.broker.records("dead-letters")


async def test_an_answer_that_no_record_can_hold_fails_its_job_alone(line):
    """What the broker would refuse is not tried: the job fails and says so, and others go on being committed."""
    noise = "x" * (MAX_OWN_BYTES + 1)
    line.script = lambda request: (
        answer(noise, request.model.id) if any("huge" in turn.content for turn in request.messages) else sure(request)
    )
    line.submit("j1", "huge")
    line.submit("j2")
    assert (await line.result("j2"))["status"] == "accepted"
    result = await line.result("j1")
    assert result["status"] == "failed"
    assert "RecordTooLarge in inference" in result["reason"]
    (letter,) = line.broker.records("dead-letters")
    assert b"for answered, which takes" in dict(letter.headers)["__dlq.errors.message"]


async def test_a_huge_text_is_cut_off_in_its_row(line):
    """A row must fit into a record: of a longer text only the beginning is kept, under the hash of the whole."""
    told = b'{"error": {"message": "%s"}}' % (b"x" * (MAX_TEXT + 1000))
    line.script = lambda request: Canned(told, status=400) if request.model.id == "tiny" else sure(request)
    line.submit("j1")
    assert (await line.result("j1"))["status"] == "accepted"
    (refused, _) = line.rows("attempts", "j1")
    texts = {row["sha256"]: row["text"] for row in line.stored().rows("payloads")}
    assert refused["response_sha256"] == sha256_hex(told)
    assert texts[refused["response_sha256"]].encode() == told[:MAX_TEXT]
    assert max(len(raw.value) for raw in line.broker.records("traces")) < MAX_OWN_BYTES


def sure(request):
    """An answer that is trusted."""
    return answer('{"intent":"lost"}', request.model.id)


def test_what_a_provider_may_say_fits_into_a_record():
    """The longest response and the largest job together are no more than a record of ours holds."""
    assert MAX_RESPONSE_BYTES + MAX_JOB_BYTES < MAX_OWN_BYTES
    assert MAX_TEXT + MAX_JOB_BYTES < MAX_OWN_BYTES < MAX_BYTES["dead-letters"]

"""Values too large to travel: kept beside Kafka, opened by whoever reads them, and waited for when they are away."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from processors.providers.scripted import answer
from streams.claim_store import ClaimStore
from streams.claims import LOOK_AGAIN_S, PATIENCE_S, claim_of
from streams.dead_letters import contents, read_letter
from streams.header_names import CLAIM, RETURN_TOPIC
from streams.records import Address, Record
from streams.redrive import Deed, redrive
from streams.sizes import MAX_CARRIED

FLOW = ("admitted", "routed", "answered", "validated")
LARGE = "x" * (MAX_CARRIED + 1)
DEED = Deed("ops", "the store is back", datetime(2026, 11, 21, tzinfo=UTC))


@pytest.fixture
def store(tmp_path):
    """A claim store."""
    return ClaimStore(tmp_path / "claims")


@pytest.fixture
async def claiming(long_line, store):
    """The pipeline with a claim store."""
    await restart(long_line, store)
    return long_line


async def restart(line, store):
    await line.stop()
    line.claims = store
    line.start()


def flow(line):
    return [(topic, raw) for topic in FLOW for raw in line.broker.records(topic)]


async def test_a_large_job_passes_as_small_records(claiming, store):
    """Every stage reads the whole job, no record between them has more than a claim, and small jobs travel whole."""
    claiming.submit("large", LARGE)
    claiming.submit("small")
    assert (await claiming.result("large"))["status"] == "accepted"
    assert (await claiming.result("small"))["status"] == "accepted"
    claims = [(topic, claim) for topic, raw in flow(claiming) if (claim := claim_of(raw)) is not None]
    assert [topic for topic, _ in claims] == list(FLOW)
    assert len(flow(claiming)) == 2 * len(FLOW)
    assert max(len(raw.value) for _, raw in flow(claiming)) < 10_000
    assert {claim.head.job_id for _, claim in claims} == {"large"}
    assert all(LARGE.encode() in store.get(claim.sha256, claim.size) for _, claim in claims)
    assert sum(LARGE in request.messages[-1].content for request in claiming.provider.requests) == 1


async def test_a_large_job_climbs_with_a_new_claim(claiming):
    """What goes back to routing is another record, and claimed anew."""
    unsure = iter([answer('{"intent":"found"}', "tiny", 0.3)])
    claiming.script = lambda request: next(unsure, None) or answer('{"intent":"lost"}', request.model.id, 0.99)
    claiming.submit("j1", LARGE)
    result = await claiming.result("j1")
    assert (result["status"], result["rung"]) == ("accepted", 1)
    assert all(header[0] != RETURN_TOPIC for _, raw in flow(claiming) for header in raw.headers)
    assert len([raw for _, raw in flow(claiming) if claim_of(raw)]) == 8


def away(store):
    """Take the store away: what is left is a folder on which nothing is mounted."""
    folder = store.folder.rename(store.folder.with_name("elsewhere"))
    store.folder.mkdir()
    (store.folder / "README").write_text("mounted, and empty")
    return folder


async def stopped_before_inference(line, store, **fields):
    """A large job whose claim for inference is written, while inference does not run."""
    held = line._stages
    line._stages = lambda: tuple(stage for stage in held() if stage.name in {"intake", "routing"})
    await restart(line, store)
    line.submit("j1", LARGE, **fields)
    await line.until(lambda: line.broker.records("routed"))
    await line.stop()
    line._stages = held


def back(store, folder):
    (store.folder / "README").unlink()
    store.folder.rmdir()
    Path(folder).rename(store.folder)


async def test_a_store_that_is_away_is_waited_for(claiming, store):
    """The record waits with its claim and its reason on record, and goes on as if nothing had been."""
    await stopped_before_inference(claiming, store)
    folder = away(store)
    await restart(claiming, store)
    await claiming.until(lambda: claiming.broker.records("retries.10s"))
    (waiting,), (routed,) = claiming.broker.records("retries.10s"), claiming.broker.records("routed")
    assert (waiting.value, dict(waiting.headers)[CLAIM]) == (routed.value, dict(routed.headers)[CLAIM])
    back(store, folder)
    claiming.clock.move(LOOK_AGAIN_S)
    result = await claiming.result("j1")
    assert (result["status"], result["attempts"]) == ("accepted", 1)
    steps = [row for row in claiming.rows("stage_events", "j1") if row["stage"] == "inference"]
    assert [row["outcome"] for row in steps] == ["retry", "pass"]
    assert f"{store.path(dict(routed.headers)[CLAIM].decode())} is missing" in steps[0]["reason"]


async def test_a_value_that_is_gone_ends_its_job_and_can_be_redriven(claiming, store):
    """After a quarter of an hour the job fails with a dead letter that names its file; with the store it goes on."""
    await stopped_before_inference(claiming, store)
    folder = away(store)
    await restart(claiming, store)
    await claiming.until(lambda: claiming.broker.records("retries.10s"))
    claiming.clock.move(PATIENCE_S + 1)
    result = await claiming.result("j1")
    assert (result["status"], result["tenant"]) == ("failed", "default")
    assert result["reason"].startswith("ClaimAway in inference; the record is the dead letter of routed/")
    (raw,) = claiming.broker.records("dead-letters")
    letter = read_letter(Address("dead-letters", 0, 0), 0, raw)
    assert str(store.path(letter.claim)) in letter.why.message
    assert store.path(letter.claim).as_uri() in letter.why.message
    assert (letter.why.retryable, letter.why.job_id) == (True, "j1")
    assert contents(letter).problem
    back(store, folder)
    claim = claim_of(letter.raw)
    done = redrive(letter.holding(store.get(claim.sha256, claim.size)), DEED, 1)
    claiming.broker.append(done.records[0])
    again = await claiming.result(done.action.new_job_id)
    assert (again["status"], again["metadata"]) == ("accepted", {"redrive_of": "j1"})
    await claiming.until(lambda: not claiming.unfinished())


async def test_a_deadline_ends_a_wait_for_the_store(claiming, store):
    """Nothing waits past its deadline: the job expires, with the store's absence as its last reason."""
    await stopped_before_inference(claiming, store, deadline_ms=5_000)
    away(store)
    await restart(claiming, store)
    result = await claiming.result("j1")
    assert result["status"] == "expired"
    assert "is missing" in result["reason"]
    assert not claiming.broker.records("dead-letters")


async def test_a_store_that_takes_nothing_stops_nobody(claiming, store):
    """A disk that is full costs speed, not jobs: the value travels, as its topic allows."""
    store.folder.write_text("no folder at all")
    claiming.submit("j1", LARGE)
    assert (await claiming.result("j1"))["status"] == "accepted"
    assert not any(claim_of(raw) for _, raw in flow(claiming))


async def test_a_claim_in_a_producers_header_is_not_believed(claiming, store):
    """What producers write is never looked up in the store."""
    value = json.dumps({"workflow": "sorting", "input": {"text": "x"}, "job_id": "j1"}).encode()
    claiming.publish(value, headers=((CLAIM, b"0" * 64),))
    assert (await claiming.result("j1"))["status"] == "accepted"


async def test_a_claim_that_is_none_is_a_dead_letter(claiming, store):
    """A record of the flow that says it carries a claim, and does not, is given up on with what was found."""
    claiming.broker.append(Record("routed", b"j1", b"junk", ((CLAIM, b"0" * 64),)))
    await claiming.until(lambda: claiming.broker.records("dead-letters"))
    (raw,) = claiming.broker.records("dead-letters")
    assert b"of Claim, found 4 bytes" in dict(raw.headers)["__dlq.errors.message"]
    assert (raw.value, dict(raw.headers)["penstock-stage"]) == (b"junk", b"inference")


async def test_a_bug_keeps_the_claim_in_its_dead_letter(claiming, store):
    """The dead letter of a large record is as small as the record was, and holds the job all the same."""

    def explode(request):
        raise ZeroDivisionError("made up")

    claiming.script = explode
    claiming.submit("j1", LARGE)
    assert (await claiming.result("j1"))["status"] == "failed"
    (raw,) = claiming.broker.records("dead-letters")
    (routed,) = claiming.broker.records("routed")
    letter = read_letter(Address("dead-letters", 0, 0), 0, raw)
    assert raw.value == routed.value
    claim = claim_of(letter.raw)
    whole = letter.holding(store.get(claim.sha256, claim.size))
    assert contents(whole).job.job_id == "j1"
    assert replace(whole, raw=letter.raw, claim=letter.claim) == letter

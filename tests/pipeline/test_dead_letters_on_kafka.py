"""Dead letters, tiers and refusals on real Kafka: the command line beside a running worker."""

import asyncio
import json
import os
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from penstock.cli import output
from penstock.cli.app import run_command
from penstock.lines import connection, warehouse
from penstock.settings import load_settings
from schemas.base import JsonText
from schemas.envelope import Envelope, Head, Origin
from schemas.job import Job
from schemas.stages import Decision, Routed, Tier
from streams import delays
from streams.assignment import Assignment
from streams.claim_store import ClaimStore
from streams.claims import claimed
from streams.delays import DelayRunner, DelayWork
from streams.dispatch import dead_letter
from streams.errors import RecordRefused, SlotTaken
from streams.header_names import DUE, RETURN_TOPIC
from streams.kafka.admin import ensure_topics
from streams.kafka.clients import Reader
from streams.kafka.connection import Connection
from streams.kafka.desk import Desk
from streams.kafka.pausable import PausableKafkaSource
from streams.kafka.publisher import KafkaPublisher
from streams.records import Address, Delivery, Emission, Finished, Raw, Record
from streams.stage import Moment
from streams.tiers import TIERS
from streams.topics import ROUTED, TOPICS, Settings, Topic
from streams.transactions import Transactions

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

PROJECT = Path(__file__).parents[2]
LIMIT_S = 60
TEXT = "Please freeze my card, I think somebody stole it"
DECISION = Decision(variant="small", tier=Tier.A, provider="local", model="local-small")


def head(job_id):
    now = datetime.now(UTC)
    return Head(
        tenant="acme",
        job_id=job_id,
        workflow="banking_intent",
        created_at=now,
        deadline=now + timedelta(hours=1),
        trace="00-" + "a" * 32 + "-" + "b" * 16 + "-01",
        origin=Origin(topic="jobs", partition=1, offset=5, key=b"mine"),
    )


def given_up(topic, value, known=None, stage="inference", headers=()):
    """The record of a dead letter, as a stage writes it."""
    taken = Delivery(Address(topic, 2, 40), 1000, Raw(b"k", value, headers), Assignment(topic, 2))
    moment = Moment(datetime.now(UTC), 0.0, 0.0, "w", 0, 0)
    (record,) = dead_letter(stage, "g", taken, KeyError("made up"), moment, head=known).records
    return record


def routed(job_id, text=TEXT):
    job = Job(workflow="banking_intent", input=JsonText(json.dumps({"text": text})), job_id=job_id)
    return ROUTED.encode(Envelope(head=head(job_id), payload=Routed(job=job, decision=DECISION)))


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def environment(stack, tmp_path_factory):
    """Topics, tables, slots and claims of this module's own, on the stack that all tests share."""
    name = uuid.uuid4().hex[:8]
    return {
        "PENSTOCK_PROJECT": str(PROJECT),
        "PENSTOCK_DATA_DIR": str(tmp_path_factory.mktemp("dlq")),
        "PENSTOCK_BROKER": stack.broker,
        "PENSTOCK_WAREHOUSE_URL": stack.warehouse_url,
        "PENSTOCK_WAREHOUSE_DATABASE": f"dlq_{name}",
        "PENSTOCK_MODEL_SERVER_URL": stack.model_server_url,
        "PENSTOCK_PREFIX": f"dlq-{name}.",
        "PENSTOCK_INSTANCE": name,
    }


@pytest.fixture
def settings(environment, monkeypatch):
    """The settings of this module, for what runs in this process."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "250")
    return load_settings()


@pytest.fixture(scope="module")
def worker(environment, penstock_run):
    """A running `penstock run`; it must end in good order."""
    with penstock_run(environment) as (process, _):
        yield process


@pytest.fixture
def link(settings, worker):
    """The connection of this module; the worker has made the topics."""
    return connection(settings)


@pytest.fixture
def cli(settings, capsys):
    """Give a function that runs one command line and reads its JSON: exit code, answer, standard error."""

    def run(*arguments):
        code = run_command([*arguments, "--json"])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else None, said.err

    return run


@pytest.fixture
def results(link):
    """Give a function that waits for the result of a job."""
    reader = Reader(link, ["results", "escalations"])
    seen = {}

    def wait(job_id):
        until = time.monotonic() + LIMIT_S
        while job_id not in seen:
            assert time.monotonic() < until, f"{job_id} has no result; there are {list(seen)}"
            for one in reader.read(100, 0.2):
                value = json.loads(one.raw.value)
                seen[value["job_id"]] = value
        return seen[job_id]

    yield wait
    reader.close()


def put(link, *records):
    """Dead letters on the topic, in one partition: the addresses follow each other."""
    with Desk(link, "dlq", "penstock dlq list") as desk:
        desk.commit(records)


def newest(cli, count, *options):
    """The addresses of the last letters."""
    _, said, _ = cli("dlq", "list", *options)
    return [one["address"] for one in said["letters"][-count:]]


def test_a_job_is_done_again_once_and_on_record(link, cli, results, settings, eventually):
    """List, show, redrive: a new job whose answer names the old one; the audit is on Kafka and in the warehouse."""
    put(link, given_up("routed", routed("lost-1"), head("lost-1")))
    (letter,) = newest(cli, 1, "--stage", "inference", "--tenant", "acme")
    code, shown, _ = cli("dlq", "show", letter)
    assert (code, shown["state"], shown["job"]["input"], shown["origin"]) == (0, "open", {"text": TEXT}, "routed/2/40")
    _, planned, _ = cli("dlq", "redrive", letter, "--why", "mended", "--dry-run")
    assert planned["dry_run"]
    code, said, _ = cli("dlq", "redrive", letter, "--why", "mended")
    (done,) = said["done"]
    assert (code, said["refused"], done["destination"], done["job_id"]) == (0, [], "jobs", "lost-1")
    assert planned["done"] == said["done"], "what was planned is what was done"
    result = results(done["new_job_id"])
    assert result["tenant"] == "acme"
    assert result.get("metadata", result.get("job", {}).get("metadata")) == {"redrive_of": "lost-1"}
    # a second time only if somebody insists
    code, said, _ = cli("dlq", "redrive", letter, "--why", "again")
    assert (code, said["done"]) == (1, [])
    assert f"as job {done['new_job_id']}; --again insists" in said["refused"][0]["reason"]
    code, said, _ = cli("dlq", "redrive", letter, "--why", "again", "--again")
    assert code == 0
    assert said["done"][0]["new_job_id"] != done["new_job_id"]
    (listed,) = [one for one in cli("dlq", "list", "--state", "redriven")[1]["letters"] if one["address"] == letter]
    assert (listed["action"]["n"], listed["action"]["why"]) == (2, "again")
    store = warehouse(settings)
    rows = eventually(lambda: (found := store.query("SELECT * FROM dead_letter_actions FINAL").dicts())[1:] and found)
    assert [(row["n"], row["why"], row["action"]) for row in sorted(rows, key=lambda row: row["n"])] == [
        (1, "mended", "redrive"),
        (2, "again", "redrive"),
    ]
    store.close()


def test_an_unreadable_record_is_put_back_and_comes_again(link, cli, eventually):
    """Its bytes go to the producer's topic as they were; unmended, it is given up on again, and says whence."""
    put(link, given_up("jobs", b"\xff junk", stage="intake", headers=(("mine", b"1"),)))
    (letter,) = newest(cli, 1)
    _, shown, _ = cli("dlq", "show", letter)
    assert (shown["job"], shown["value"]["hex"]) == (None, b"\xff junk".hex())
    code, said, _ = cli("dlq", "redrive", letter, "--why", "upgraded")
    assert (code, said["done"][0]["destination"], said["done"][0]["new_job_id"]) == (0, "jobs", None)
    again = eventually(lambda: [one for one in newest(cli, 100) if one != letter and one in unseen(cli, letter)])
    _, shown, _ = cli("dlq", "show", again[-1])
    headers = {one["name"]: one["value"]["text"] for one in shown["headers"]}
    assert (headers["mine"], headers["penstock-redrive-of"]) == ("1", letter)
    assert shown["value"]["hex"] == b"\xff junk".hex()
    assert cli("dlq", "drop", letter, again[-1], "--why", "junk", "--again")[0] == 0
    assert {one["state"] for one in cli("dlq", "list", "--topic", "jobs")[1]["letters"]} == {"dropped"}


def unseen(cli, letter):
    return [one["address"] for one in cli("dlq", "list", "--state", "open", "--topic", "jobs")[1]["letters"]]


def test_many_are_redriven_by_what_they_have_in_common(link, cli, results):
    """Filters choose, what was dealt with stays out, a claimed one is opened, and what can't be is answered for."""
    store = ClaimStore(load_settings().claims_dir)
    large = claimed(Record("routed", b"k", routed("lost-large", f"{TEXT} {'x' * 300_000}")), store)
    lost = claimed(Record("routed", b"k", routed("lost-for-good")), ClaimStore(store.folder / "elsewhere"))
    put(
        link,
        *(given_up("routed", routed(f"many-{n}"), head(f"many-{n}"), "validation") for n in range(30)),
        given_up("routed", large.value, head("lost-large"), "validation", large.headers),
        given_up("routed", lost.value, head("lost-for-good"), "validation", lost.headers),
    )
    assert cli("dlq", "drop", newest(cli, 32)[0], "--why", "not worth it")[0] == 0
    code, said, _ = cli("dlq", "redrive", "--stage", "validation", "--why", "mended", "--rate", "200")
    assert (code, len(said["done"]), len(said["refused"])) == (1, 30, 1)
    assert "is missing" in said["refused"][0]["reason"]
    by_old = {one["job_id"]: one["new_job_id"] for one in said["done"]}
    assert by_old.keys() == {*(f"many-{n}" for n in range(1, 30)), "lost-large"}
    for old in ("many-1", "many-29", "lost-large"):
        assert results(by_old[old])["tenant"] == "acme"
    code, said, _ = cli("dlq", "redrive", "--stage", "validation", "--why", "mended")
    assert (code, said["done"], len(said["refused"])) == (1, [], 1)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["redrive", "--why", "x"], 2, "name dead letters by their addresses"),
        (["redrive", "--all", "--stage", "x", "--why", "x"], 2, "--all is every open letter"),
        (["show", "nonsense"], 2, "'nonsense' is no address"),
        (["show", "5/99999999"], 1, "there is no dead letter dead-letters/5/99999999"),
        (["drop", "routed/77/1", "--why", "x"], 1, "there is no dead letter routed/77/1"),
        (["list", "--since", "yesterday"], 2, "'yesterday' is no time"),
    ],
)
def test_what_can_not_be_meant_is_said(link, cli, arguments, code, says):
    """Exit codes and sentences for what was typed wrongly or is not there."""
    found, _, said = cli("dlq", *arguments)
    assert found == code
    assert says in said


def test_people_see_tables_and_panels(link, cli, settings, capsys, monkeypatch):
    """The same without JSON: address, state and message in the list; job and reasons in the panel."""
    monkeypatch.setattr(output.console, "_width", 200)  # narrow columns would fold what is looked for
    put(link, given_up("routed", routed("shown-1"), head("shown-1"), "grading"))
    (letter,) = newest(cli, 1)
    assert run_command(["dlq", "list", "--stage", "grading"]) == 0
    listed = capsys.readouterr().out
    assert all(part in listed for part in (letter, "acme/shown-1", "KeyError", "open"))
    assert run_command(["dlq", "show", letter]) == 0
    shown = capsys.readouterr().out
    assert all(part in shown for part in ("banking_intent", TEXT, "routed/2/40", "KeyError: 'made up'"))
    assert run_command(["dlq", "drop", letter, "--why", "seen"]) == 0
    assert f"{letter} is dropped" in capsys.readouterr().out


def test_claims_go_by_age_alone(link, cli, settings):
    """An age below what the topics keep is refused; above it, old values go and young ones stay."""
    store = ClaimStore(settings.claims_dir)
    old, young = store.put(b"old"), store.put(b"young")
    past = time.time() - 100 * 86_400
    os.utime(store.path(old), (past, past))
    code, _, said = cli("claims", "clean", "--older-than", "30d")
    assert code == 2
    assert "67 days" in said
    code, planned, _ = cli("claims", "clean", "--older-than", "70d", "--dry-run")
    assert (code, planned["removed"], store.path(old).exists()) == (0, 1, True)
    assert cli("claims", "clean", "--older-than", "70d")[1]["removed"] == 1
    assert (store.path(old).exists(), store.path(young).exists()) == (False, True)


def test_two_can_not_act_at_once(link):
    """Whoever takes the desk last is the only one: nothing of what the other does is committed."""
    first = Desk(link, "dlq", "penstock dlq list").__enter__()
    second = Desk(link, "dlq", "penstock dlq list").__enter__()
    with pytest.raises(SlotTaken, match="somebody else has begun"):
        first.commit([Record("results", b"x", b"from the first")])
    second.commit([Record("results", b"x", b"from the second")])
    reader = Reader(link, ["results"], from_start=True)
    found, until = [], time.monotonic() + LIMIT_S
    while b"from the second" not in found and time.monotonic() < until:
        found += [one.raw.value for one in reader.read(1000, 0.2) if one.raw.key == b"x"]
    reader.close()
    assert found == [b"from the second"]


# --- what the broker refuses ------------------------------------------------------------------------------------------

SMALL = Topic("results", Settings(partitions=1, max_bytes=20_000))


async def commit_one(link, record):
    """Have one record committed in a transaction, as the outcome of a delivery."""
    fence = threading.Lock()
    source = PausableKafkaSource(link, "s", ["in"], "s.0", fence)
    publisher = KafkaPublisher(link, "p", 0, fence)
    await publisher.open()
    transactions = Transactions(publisher)
    running = asyncio.create_task(transactions.run())
    try:
        (delivery,) = await source.take(1)
        delivery.assignment.start(delivery.address.offset)
        transactions.add(source, Finished(delivery, Emission((record,))), lambda: None)
        await asyncio.wait({running, asyncio.create_task(transactions.drained())}, return_when="FIRST_COMPLETED")
        if running.done():
            running.result()
    finally:
        running.cancel()
        await publisher.close()
        await source.close()


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (Record("results", b"k", os.urandom(50_000)), r"results takes no record: the record is too large.*--alter"),
        (Record("results", b"k", os.urandom(17 * 1024 * 1024)), "results takes no record: the record is too large"),
        (Record("gone", b"k", b"v"), "gone takes no record: it does not exist"),
        (Record("results", b"k", b"v", partition=7), "results takes no record: it has 1 partitions, and partition 7"),
    ],
    ids=["broker's limit", "client's limit", "no topic", "no partition"],
)
async def test_what_is_refused_for_good_stops_with_a_choice(stack, record, says):
    """A record that can never be delivered is not tried for ever: the error names the topic and what to do."""
    link = Connection(stack.broker, prefix=f"t{uuid.uuid4().hex[:8]}.", transaction_timeout_ms=2000)
    ensure_topics(link, (Topic("in"), SMALL))
    producer = link.idempotent_producer(0)
    producer.produce(link.topic("in"), b"v", b"k")
    producer.flush(10)
    with pytest.raises(RecordRefused, match=says):
        async with asyncio.timeout(30):
            await commit_one(link, record)


# --- tiers ------------------------------------------------------------------------------------------------------------


async def test_a_full_partition_holds_up_no_other_on_kafka(stack, monkeypatch):
    """One partition full of records that wait, left unread; one due in another is back at once; none is lost."""
    monkeypatch.setattr(delays, "HELD", 20)
    tier = TIERS[0]
    link = Connection(stack.broker, prefix=f"t{uuid.uuid4().hex[:8]}.", transaction_timeout_ms=5000)
    ensure_topics(link, [topic for topic in TOPICS if topic.name in {tier.topic.name, "routed"}])
    producer = link.idempotent_producer(0)
    now_ms = int(time.time() * 1000)

    def wait_on(partition, due_ms, value):
        headers = [(RETURN_TOPIC, b"routed"), (DUE, b"%d" % due_ms)]
        producer.produce(link.topic(tier.topic.name), value, value, partition, headers=headers)

    for n in range(100):
        wait_on(0, now_ms + 4000, b"late-%d" % n)
    wait_on(1, now_ms, b"due")
    producer.flush(10)
    fence = threading.Lock()
    source = PausableKafkaSource(link, tier.name, [tier.topic.name], "d.0", fence)
    publisher = KafkaPublisher(link, "p", 0, fence)
    await publisher.open()
    transactions = Transactions(publisher)
    work = DelayWork(tier, source.group, "w", asyncio.sleep, lambda: datetime.now(UTC))
    runner = DelayRunner(tier.name, source, work, transactions)
    tasks = [asyncio.create_task(runner.run()), asyncio.create_task(transactions.run())]
    reader = await asyncio.to_thread(Reader, link, ["routed"], from_start=True)
    seen, held = {}, 0
    async with asyncio.timeout(30):
        while len(seen) < 101:
            for one in await asyncio.to_thread(reader.read, 500, 0.1):
                assert one.raw.value not in seen, "put back twice"
                seen[one.raw.value] = time.time()
            held = max(held, *(one.count for one in runner._held.values()), 0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await publisher.close()
    await source.close()
    reader.close()
    late = [at for value, at in seen.items() if value != b"due"]
    assert seen[b"due"] < min(late)
    assert min(late) >= (now_ms + 4000) / 1000 - 0.01
    assert held <= 3 * delays.HELD, "it is left unread while it is full"

"""The command line and the client on the real thing: Kafka, warehouse, model server, a worker as its own process."""

import asyncio
import csv
import io
import json
import re
import shutil
import uuid
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from penstock.cli.app import run_command
from penstock.client import Client, SyncClient
from penstock.compose import models
from penstock.lines import connection
from penstock.local.banking77 import split
from penstock.run import PARTS
from penstock.settings import load_settings
from processors.control import ControlState
from processors.policy.recorded import from_json
from processors.policy.route import route
from processors.workflow import compile_workflow
from streams.kafka.follower import Follower

pytestmark = pytest.mark.stack

PROJECT = Path(__file__).parents[2]
LIMIT_S = 60


@pytest.fixture(scope="module")
def environment(stack, tmp_path_factory):
    """Topics, tables and slots of this module's own, on the stack that all tests share."""
    name = uuid.uuid4().hex[:8]
    return {
        "PENSTOCK_PROJECT": str(PROJECT),
        "PENSTOCK_DATA_DIR": str(tmp_path_factory.mktemp("cli")),
        "PENSTOCK_BROKER": stack.broker,
        "PENSTOCK_WAREHOUSE_URL": stack.warehouse_url,
        "PENSTOCK_WAREHOUSE_DATABASE": f"cli_{name}",
        "PENSTOCK_MODEL_SERVER_URL": stack.model_server_url,
        "PENSTOCK_PREFIX": f"cli-{name}.",
        "PENSTOCK_SOURCE": json.dumps({"letters": {"workflow": "banking_intent", "input": "/body", "job_id": "/no"}}),
    }


@pytest.fixture(autouse=True)
def here(environment, monkeypatch):
    """The settings of this module, for what runs in this process."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def worker(environment, penstock_run):
    """A running `penstock run`; it must end in good order. Its source is there before it."""
    admin = AdminClient({"bootstrap.servers": environment["PENSTOCK_BROKER"], "log_level": 0})
    letters = environment["PENSTOCK_PREFIX"] + "letters"
    admin.create_topics([NewTopic(letters, 2, 1)])[letters].result(30)
    with penstock_run(environment) as (process, log):
        yield process
    assert b'"event": "stopped"' in log.read_bytes()


@pytest.fixture
def cli(capsys):
    """Give a function that runs one command line: exit code, standard output, standard error."""

    def run(*arguments):
        code = run_command(list(arguments))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture(scope="module")
def message():
    """What a customer wrote; clear enough to be accepted."""
    return "Please freeze my card, I think somebody stole it"


def test_an_answer_is_read_while_it_is_written(worker, cli, message):
    """The pieces are the text that the model wrote, numbered; the last word and the result are of one mind."""
    code, out, err = cli("submit", "banking_intent", "--text", message, "--job-id", "j-shown", "--stream", "--json")
    *pieces, result = map(json.loads, out.splitlines())
    assert (code, result["job_id"]) == (0, "j-shown"), err
    assert pieces[-1]["status"] == result["status"]
    answered = [piece for piece in pieces[:-1] if piece["attempt_id"] == pieces[-1]["attempt_id"]]
    assert json.loads("".join(piece["text"] for piece in answered)) == (result["output"] or result["proposed"])
    assert [piece["seq"] for piece in answered] == list(range(len(answered)))
    code, out, _ = cli("submit", "banking_intent", "--text", message, "--stream")
    assert code == 0
    assert '{"intent":"' in out
    code, _, err = cli("submit", "banking_intent", "--text", message, "--stream", "--no-wait")
    assert (code, "drop one of them" in err) == (2, True)


def test_status_knows_each_stage(worker, cli):
    """With everything up the exit code is 0, and every consumer group has its lag."""
    code, out, _ = cli("status", "--json")
    said = json.loads(out)
    assert (code, said["healthy"], said["problems"]) == (0, True, [])
    assert set(said["lag"]) == {"delays", *PARTS}
    assert all(behind >= 0 for behind in said["lag"].values())


def test_the_local_models_do_what_is_said_of_them(worker, cli):
    """One call each: held to the schema although asked for words, with probabilities and usage, read as a stream."""
    code, out, _ = cli("providers", "check", "--json")
    found = json.loads(out)
    assert [one["model"] for one in found] == ["local-small", "local-mid", "local-large"]
    for one in found:
        assert (one["schema_enforced"], one["logprobs"], one["usage"], one["streamed"]) == (True, True, True, True), one
        assert float(one["cost_usd"]) > 0
    assert code == 0
    code, _, err = cli("providers", "check", "no-such")
    assert (code, "it has local-small" in err) == (2, True)


def test_a_job_from_its_text_to_its_trace(worker, cli, message):
    """Submit waits for the result; its trace has every stage, the call, the checks and the gate."""
    code, out, _ = cli(
        "submit", "banking_intent", "--text", message, "--job-id", "j-trace", "--tenant", "acme", "--json"
    )
    result = json.loads(out)
    assert code == 0
    assert result["job_id"] == "j-trace"
    assert result["status"] in {"accepted", "escalated"}
    assert (result["output"] or result["proposed"])["intent"]
    code, out, err = cli("trace", "j-trace", "--json", "--wait", "30")
    assert code == 0, err
    trace = json.loads(out)
    assert trace["job"]["status"] == result["status"]
    assert trace["job"]["trace_id"] == result["trace_id"]
    assert [one["stage"] for one in trace["stages"]][:5] == ["intake", "routing", "inference", "validation", "grading"]
    assert trace["calls"][0]["event"]["cost_usd"]
    assert message in trace["calls"][0]["request"]
    assert trace["checks"]
    assert trace["grades"]
    code, out, _ = cli("trace", "j-trace", "--tenant", "acme")
    assert code == 0
    for part in ("j-trace  " + result["status"], "inference", "asked local-small", "gate →", "total $"):
        assert part in out


def test_a_record_of_a_topic_of_others_is_a_job(worker, cli, environment, message):
    """Written by a bare client for other purposes; one that holds no job is a dead letter, and lag knows it."""
    producer = Producer({"bootstrap.servers": environment["PENSTOCK_BROKER"], "log_level": 0})
    for letter in ({"no": 4711, "body": {"text": message}, "more": True}, {"no": 4712}):
        producer.produce(environment["PENSTOCK_PREFIX"] + "letters", json.dumps(letter))
    assert producer.flush(30) == 0
    code, out, err = cli("trace", "4711", "--wait", str(LIMIT_S), "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["job"]["status"] in {"accepted", "escalated"}
    assert json.loads(found["input"]) == {"text": message}
    _, out, _ = cli("dlq", "list", "--json")
    assert "the record has nothing at /body" in out
    _, out, _ = cli("lag", "--json")
    assert "source.letters" in out


def test_a_bad_input_is_answered_and_the_exit_code_says_so(worker, cli):
    """A job that the workflow's schema refuses ends as rejected, with the reason, and exit code 1."""
    code, out, _ = cli("submit", "banking_intent", "--input", '{"txt": 1}', "--json")
    result = json.loads(out)
    assert (code, result["status"]) == (1, "rejected")
    assert "txt" in result["reason"]


def test_a_workflow_that_is_not_there_is_answered(worker, cli):
    """An unknown workflow is a result as well, not silence."""
    code, out, _ = cli("submit", "no_such_thing", "--text", "x")
    assert code == 1
    assert "no_such_thing" in out


def test_a_job_is_published_without_waiting(worker, cli, message, eventually):
    """--no-wait prints where the job lies, and it runs all the same."""
    code, out, _ = cli("submit", "banking_intent", "--text", message, "--job-id", "j-later", "--no-wait", "--json")
    assert code == 0
    assert json.loads(out)["published_at"].startswith("jobs/")

    def ended():
        code, out, _ = cli("query", "SELECT count() AS n FROM v_jobs WHERE job_id = 'j-later'", "--json")
        return code == 0 and json.loads(out)["rows"][0]["n"]

    assert eventually(ended) == 1


def test_unknown_jobs_and_refused_queries(worker, cli):
    """What the warehouse does not know or refuses is said in a line."""
    code, _, err = cli("trace", "nobody", "--wait", "0.5")
    assert code == 1
    assert "nothing is on record about job 'nobody'" in err
    code, _, err = cli("query", "SELECT nonsense FROM v_jobs")
    assert code == 1
    assert "nonsense" in err
    code, _, err = cli("query", "DROP TABLE jobs")
    assert code == 1
    assert "readonly" in err


def test_query_as_csv(worker, cli):
    """CSV has a header, and NULL is not an empty field."""
    code, out, _ = cli("query", "SELECT 1 AS one, NULL AS none, '' AS empty", "--csv")
    assert code == 0
    assert list(csv.reader(io.StringIO(out))) == [["one", "none", "empty"], ["1", "\\N", ""]]


def test_a_killed_tenant_waits_and_goes_on(worker, cli, message):
    """A kill switch takes hold at once, is on record with its reason, and nothing is lost by it."""
    code, out, _ = cli("kill", "tenant", "stopped", "--why", "they asked for it", "--json")
    assert code == 0
    version = json.loads(out)["control_version"]
    submit = ("submit", "banking_intent", "--text", message, "--tenant", "stopped", "--job-id", "j-killed")
    code, _, err = cli(*submit, "--timeout", "2")
    assert code == 4
    assert "it goes on" in err
    code, out, _ = cli("unkill", "tenant", "stopped", "--why", "enough")
    assert code == 0
    assert "free again" in out
    code, out, _ = cli("trace", "j-killed", "--wait", "40", "--json")
    assert code == 0
    assert json.loads(out)["job"]["status"] in {"accepted", "escalated"}
    code, out, _ = cli("query", f"SELECT who, why FROM control_log WHERE control_version = {version}", "--json")
    assert json.loads(out)["rows"][0]["why"] == "they asked for it"


def test_what_try_shows_is_what_the_pipeline_does(worker, cli):
    """The same messages end the same way on the same rung, with and without a broker."""
    for number, one in enumerate(split("unseen")[300:306]):
        _, out, _ = cli("submit", "banking_intent", "--text", one.text, "--job-id", f"j-same-{number}", "--json")
        _, tried, _ = cli("try", "banking_intent", "--text", one.text, "--json")
        result, trial = json.loads(out), json.loads(tried)
        assert (trial["status"], trial["rung"]) == (result["status"], result["rung"])
        assert (trial["output"], trial["proposed"]) == (result["output"], result["proposed"])
        assert trial["cost_usd"] == result["cost_usd"]
        assert [step["stage"] for step in trial["decision_path"]] == [one["stage"] for one in result["decision_path"]]


def test_cases_through_all_stages(worker, cli):
    """The figures are those of the cases; --at-least decides the exit code."""
    code, out, err = cli("eval", "banking_intent", "--limit", "40", "--at-least", "0.5", "--json")
    assert code == 0, err
    said = json.loads(out)["all"]
    assert said["cases"] == 40
    assert said["accepted"]["count"] + said["escalated"]["count"] == 40
    assert said["right"]["value"] > 0.5
    code, _, err = cli("eval", "banking_intent", "--limit", "20", "--max-cost", "0.000001", "--json")
    assert code == 1
    assert "cases were not run" in err


def test_prompts_matter(worker, cli, tmp_path):
    """Without the descriptions of its labels a prompt answers worse, and the difference between the two is shown."""
    described, bare = tmp_path / "described", tmp_path / "bare"
    for project in (described, bare):
        folder = project / "workflows" / "banking_intent"
        shutil.copytree(PROJECT / "workflows" / "banking_intent", folder)
        shutil.copy(PROJECT / "models.toml", project)
        (project / "penstock.toml").touch()
        (folder / "calibration.json").unlink()
        settings = (folder / "workflow.toml").read_text()
        small, gate = settings.split("[[ladder]]")[:2], settings[settings.index("[gate]") :]
        (folder / "workflow.toml").write_text("[[ladder]]".join(small) + gate)  # one rung: nobody mends its answers
    labels = bare / "workflows" / "banking_intent" / "prompts" / "shared" / "labels.md"
    labels.write_text(re.sub(r"(?m)^(- \w+):.*$", r"\1", labels.read_text()))
    found = {}
    for project in (described, bare):
        code, out, err = cli("--project", str(project), "eval", "banking_intent", "--json")
        assert code == 0, err
        found[project] = json.loads(out)["all"]["answers_right"]["value"]
    assert found[bare] < found[described] - 0.03, found
    code, out, err = cli("--project", str(bare), "diff", "banking_intent", "--json")
    assert code == 0, err
    lines = json.loads(out)["files"]["prompts/shared/labels.md"]
    assert any(line.startswith("-- card_arrival: the ordered card") for line in lines)
    assert "+- card_arrival" in lines


def test_publishing_again_changes_nothing(worker, cli):
    """The worker has published and activated it at its start, so it is neither new nor newly in force."""
    code, out, _ = cli("publish", "banking_intent", "--activate", "--json")
    assert code == 0
    (published,) = json.loads(out)["published"]
    assert published["workflow"] == "banking_intent"
    assert len(published["version"]) == 16
    assert (published["new"], published["active"], published["control_version"]) == (False, True, None)


async def test_two_hundred_waiters_share_one_client(worker, environment):
    """Every one of many concurrent jobs gets its own answer, and a second client sees all of them go by."""
    messages = split("unseen")[:200]
    async with Client(settings=load_settings()) as onlooker, Client(settings=load_settings()) as client:
        asked = [
            client.submit("banking_intent", {"text": one.text}, wait=True, tenant="many", metadata={"n": str(n)})
            for n, one in enumerate(messages)
        ]
        results = await asyncio.gather(*asked)
        assert [result.metadata["n"] for result in results] == [str(n) for n in range(len(messages))]
        assert {result.status for result in results} <= {"accepted", "escalated"}
        seen = {result.job_id async for result in onlooker.results(idle_s=2) if result.tenant == "many"}
    assert seen == {result.job_id for result in results}


def test_the_synchronous_client(worker, message):
    """Without an event loop: many published at once, each waited for."""
    with SyncClient(settings=load_settings()) as client:
        sent = [client.submit_soon("banking_intent", {"text": message}) for _ in range(20)]
        receipts = [one.result(30) for one in sent]
        assert len({receipt.job_id for receipt in receipts}) == 20
        assert all(client.wait(receipt.job_id, LIMIT_S).assert_fresh().confidence for receipt in receipts)


def test_the_demo_accounts_for_every_job(worker, cli):
    """The demo runs on a stack that is up already, and its account adds up."""
    code, out, _ = cli("demo", "--jobs", "120", "--rate", "60", "--json")
    said = json.loads(out)
    assert code == 0, said["checks"]
    assert said["ok"]
    assert said["unaccounted"] == 0
    assert sum(said["by_status"].values()) == 120
    assert float(said["ways"]["always_largest"]["cost_usd"]) > 0
    assert said["rows"]["attempts"] >= 120


def test_learned_routing_from_cases_and_from_jobs_on_record(worker, cli, tmp_path):
    """Every rung is asked about every case; what the pipeline has done tells the same without a call."""
    lines = (PROJECT / "workflows" / "banking_intent" / "evals" / "cases.jsonl").read_text().splitlines()[:120]
    cases = tmp_path / "cases.jsonl"
    cases.write_text("\n".join(lines))
    code, out, err = cli("train-router", "banking_intent", "--cases", str(cases), "--dry-run", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["n"], told["written"], len(told["scales"])) == (120, False, 2)

    code, out, err = cli("train-router", "banking_intent", "--from-outcomes", "--dry-run", "--json")
    assert code == 0, err
    assert json.loads(out)["n"] >= 100
    assert json.loads(out)["source"] == "jobs of the last 30 days"

    code, _, err = cli("train-router", "banking_intent", "--from-outcomes", "--version", "none", "--json")
    assert code == 1
    assert "0 inputs were answered at every rung; 100 are needed" in err


def test_every_decision_on_record_can_be_made_again(worker, cli):
    """From its recorded inputs, the registry and the control history alone, without a look at it: all are the same."""
    settings = load_settings()
    history, bundles = [], {}
    follower = Follower(
        connection(settings),
        lambda version, control: history.append((version, control)),
        lambda bundle: bundles.setdefault((bundle.workflow, bundle.version), compile_workflow(bundle)),
    )
    follower.start()
    follower.close()
    states = {-1: ControlState()}
    for version, control in history:
        states[version] = states[max(states)].after(control, version)
    columns = "workflow, workflow_version, variant, gen_ai_request_model AS model, reasons, skipped, without, inputs"
    _, out, _ = cli("query", f"SELECT {columns} FROM decisions FINAL", "--json")
    rows = json.loads(out)["rows"]
    assert len(rows) > 200
    for row in rows:
        request, version = from_json(row["inputs"])
        workflow = bundles[row["workflow"], row["workflow_version"]]
        decision = route(request, workflow, models(settings), states[version]).decision
        made = (decision.variant, decision.model, list(decision.reasons), list(decision.skipped), decision.without)
        assert made == (row["variant"], row["model"], row["reasons"], row["skipped"], row["without"])

"""The operator's commands on the real stack: what they print, what they change, how they end."""

import json
import uuid
from pathlib import Path

import pytest
from confluent_kafka import Producer

from penstock.cli.app import run_command

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[2]


@pytest.fixture
def operate(stack, tmp_path, monkeypatch, capsys):
    """Give a function that runs a command of a project with topics of its own, and returns its exit code and JSON."""
    prefix = f"ops{uuid.uuid4().hex[:8]}."
    told = {"BROKER": stack.broker, "WAREHOUSE_URL": stack.warehouse_url, "MODEL_SERVER_URL": stack.model_server_url}
    for name, value in {**told, "PREFIX": prefix, "DATA_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(f"PENSTOCK_{name}", value)

    def run(*arguments):
        code = run_command(["--project", str(ROOT), *arguments, "--json"])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else said.err

    run.prefix = prefix
    run.broker = stack.broker
    return run


def test_topics_are_planned_made_and_then_in_order(operate, eventually):
    """`plan` ends with 1 while there is something to do; `apply` does it; the doctor agrees before and after."""
    code, planned = operate("topics", "plan")
    assert (code, len(planned["changes"]) > 15, planned["made"]) == (1, True, [])
    missing = [one for one in operate("doctor")[1]["findings"] if one["check"] == "topics" and one["mark"] == "warn"]
    assert len(missing) == len(planned["changes"])
    code, applied = operate("topics", "apply")
    assert (code, applied["changes"], len(applied["made"])) == (0, [], len(planned["changes"]))
    eventually(lambda: operate("topics", "plan") == (0, {"changes": [], "made": []}))
    code, examined = operate("doctor")
    assert code == 0
    grave = {(one["check"], one["mark"]) for one in examined["findings"] if one["mark"] != "ok"}
    assert grave == {("brokers", "warn")}  # one node: said, and not held against it


def test_lag_ends_with_1_when_a_record_outlives_half_of_its_topic_s_retention(operate):
    """Fresh records are lag and no more; one of four days is an alarm, by a sentence and by the exit code."""
    operate("topics", "apply")
    producer = Producer({"bootstrap.servers": operate.broker})
    producer.produce(f"{operate.prefix}routed", b"x")
    assert producer.flush(30) == 0
    code, looked = operate("lag")
    (routed,) = (one for one in looked["lags"] if one["topic"] == "routed")
    assert (code, routed["stage"], routed["waiting"], looked["alarms"]) == (0, "inference", 1, [])
    four_days_ago = routed["oldest_s"] + 4 * 86_400
    producer.produce(f"{operate.prefix}validated", b"x", timestamp=int((looked["at"] - four_days_ago) * 1000))
    assert producer.flush(30) == 0
    code, looked = operate("lag")
    assert code == 1
    assert "grading: the oldest unfinished record of validated is 96.0 h old" in looked["alarms"][0]


def test_rights_are_printed_for_one_component(operate):
    """Principal, resources and operations of what was asked for, and of nothing else."""
    code, printed = operate("acls", "--component", "sink", "--user", "team-{}")
    assert (code, printed["applied"], list(printed["components"])) == (0, False, ["sink"])
    sink = printed["components"]["sink"]
    assert sink["principal"] == "User:team-sink"
    reads = [
        grant["name"] for grant in sink["grants"] if "Read" in grant["operations"] and grant["resource"] == "group"
    ]
    assert reads == [f"{operate.prefix}penstock.sink"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("acls", "--component", "sinc"), "sinc is none; there are producer, intake"),
        (("acls", "--user", "everyone"), "would give one principal every right"),
        (("run", "--workers", "65"), "--workers 65 is more than max_slots = 64"),
    ],
)
def test_what_can_t_be_meant_is_refused(operate, arguments, said, capsys):
    """A mistyped component, one user for all, more workers than slots: exit code 2 and a sentence."""
    assert run_command(["--project", str(ROOT), *arguments]) == 2
    assert said in capsys.readouterr().err.replace("\n", " ")

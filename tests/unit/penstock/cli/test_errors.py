"""Errors as a user meets them: what is wrong, what to do, an exit code that means something, and no traceback."""

import json

import pytest

from penstock.cli.codes import Exit, Failed
from penstock.cli.endings import ending_of
from penstock.client import InvalidJob, NoResult, NotAcknowledged
from penstock.local.errors import PortTakenError
from penstock.settings import SettingsError
from processors.problems import CredentialError, Problem, WorkflowError
from sinks.errors import JobAmbiguous, MigrationError, QueryFailed, WarehouseAway, WarehouseUnfit
from streams.errors import BrokerAway, SlotTaken, TooManyBugs


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Failed(Exit.LATE, "x"), Exit.LATE),
        (KeyboardInterrupt(), Exit.INTERRUPTED),
        (BrokerAway("x"), Exit.AWAY),
        (WarehouseAway("x"), Exit.AWAY),
        (WarehouseUnfit("x"), Exit.AWAY),
        (NotAcknowledged("x"), Exit.AWAY),
        (PortTakenError("x"), Exit.AWAY),
        (NoResult("x"), Exit.LATE),
        (SettingsError("x"), Exit.USAGE),
        (InvalidJob("x"), Exit.USAGE),
        (CredentialError("x"), Exit.USAGE),
        (WorkflowError([Problem("f", 1, "a", "b", "c")]), Exit.USAGE),
        (JobAmbiguous("j", ("a", "b")), Exit.USAGE),
        (QueryFailed(62, "Code: 62. DB::Exception: no"), Exit.BAD),
        (SlotTaken("x"), Exit.BAD),
        (TooManyBugs("x"), Exit.BAD),
        (MigrationError("x"), Exit.BAD),
        (ZeroDivisionError("x"), Exit.BUG),
        (ModuleNotFoundError("No module named 'psutil'", name="psutil"), Exit.USAGE),
        (ModuleNotFoundError("No module named 'oops'", name="oops"), Exit.BUG),
        (ExceptionGroup("several", [ExceptionGroup("inner", [BrokerAway("x")])]), Exit.AWAY),
    ],
)
def test_every_error_has_a_code_and_a_sentence(error, code):
    """Each room's errors end a command with the code of their kind."""
    ending = ending_of(error)
    assert ending.code is code
    assert ending.text


def test_a_refused_query_is_said_once():
    """ClickHouse's number and sentence, without its own prefix, and a hint where a table is not there yet."""
    text = ending_of(QueryFailed(60, "Code: 60. DB::Exception: Unknown table 'x'. (UNKNOWN_TABLE)\nStack")).text
    assert text.count("60") == 1
    assert "Unknown table 'x'" in text
    assert "penstock run" in text
    assert "Stack" not in text


def test_a_missing_extra_is_named():
    """Who installed Penstock without its local extra is told which to install."""
    assert "penstock[local]" in ending_of(ModuleNotFoundError("x", name="chdb")).text


@pytest.mark.parametrize(
    "command",
    [
        ["submit", "greet", "--text", "x"],
        ["submit", "greet", "--text", "x", "--no-wait"],
        ["kill", "model", "tiny", "--why", "it is wrong"],
        ["unkill", "model", "tiny", "--why", "mended"],
        ["publish"],
        ["run"],
    ],
)
def test_a_broker_that_is_away_is_said_at_once(cli, command):
    """No command waits long, shows a traceback or pretends to have done something."""
    ran = cli(*command)
    assert ran.code == Exit.AWAY
    assert "the broker is away: 127.0.0.1:" in ran.err
    assert "penstock up" in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""


@pytest.mark.parametrize("command", [["query", "SELECT 1"], ["query", "SELECT 1", "--json"], ["trace", "j1"]])
def test_a_warehouse_that_is_away_is_said_at_once(cli, command):
    """One line, the address, what to do; nothing on standard output that a program could take for an answer."""
    ran = cli(*command)
    assert ran.code == Exit.AWAY
    assert "the warehouse is away: http://127.0.0.1:" in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert ran.out == ""


def test_debug_shows_the_traceback(cli):
    """Who asks for it gets it."""
    assert "Traceback" in cli("--debug", "query", "SELECT 1").err


def test_status_of_a_stack_that_is_down(cli):
    """Everything is listed with what is wrong, and the exit code says that something is."""
    ran = cli("status")
    assert ran.code == Exit.BAD
    assert ran.out.count("stopped") == 3
    assert "the broker is not running; start it with `penstock up`" in ran.err


def test_status_as_json_has_its_keys_even_when_all_is_down(cli):
    """A program can rely on the keys."""
    ran = cli("status", "--json")
    said = json.loads(ran.out)
    assert ran.code == Exit.BAD
    assert said["healthy"] is False
    assert said["lag"] is None
    assert len(said["problems"]) == 3
    assert set(said) >= {"broker", "warehouse", "model_server", "components"}


def test_external_components_are_asked(cli, project, monkeypatch):
    """An address that is not the embedded stack's is not taken for healthy: somebody must answer there."""
    for name in ("BROKER", "WAREHOUSE_URL", "MODEL_SERVER_URL"):
        monkeypatch.setenv(f"PENSTOCK_{name}", "127.0.0.1:1" if name == "BROKER" else "http://127.0.0.1:1")
    ran = cli("status")
    assert ran.code == Exit.BAD
    assert ran.out.count("unreachable") == 3


def test_down_without_a_stack(cli):
    """Stopping nothing is no error."""
    ran = cli("down", "--json")
    assert (ran.code, json.loads(ran.out)) == (0, {"stopped": False})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["submit", "greet"], "--text TEXT, --input JSON or --file FILE"),
        (["submit", "greet", "--text", "a", "--input", "{}"], "once"),
        (["submit", "greet", "--input", "{nope"], "no JSON"),
        (["submit", "greet", "--file", "gone.json"], "gone.json"),
        (["run", "--stages", "intake,cooking"], "cooking is no stage"),
        (["run", "--stages", ","], "names nothing"),
        (["kill", "model", "tinny", "--why", "x"], "no model 'tinny'; there are tiny"),
        (["kill", "workflow", "meet", "--why", "x"], "there are greet"),
        (["kill", "moodel", "tiny", "--why", "x"], "moodel"),
        (["publish", "meet"], "greet"),
        (["calibrate", "meet"], "there are greet"),
        (["calibrate", "greet"], "--cases"),
        (["query", "SELECT 1", "--json", "--csv"], "not both"),
        (["demo"], "banking_intent"),
        (["nonsense"], "nonsense"),
        (["status", "--frob"], "--frob"),
    ],
)
def test_a_wrong_command_line_is_explained(cli, arguments, said):
    """What was found and what would be right, exit code 2, and nothing is done."""
    ran = cli(*arguments)
    assert ran.code == Exit.USAGE
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_a_wrong_setting_is_named(cli, monkeypatch):
    """A misspelt variable is not ignored."""
    monkeypatch.setenv("PENSTOCK_BROKR", "x")
    ran = cli("status")
    assert ran.code == Exit.USAGE
    assert "did you mean PENSTOCK_BROKER" in ran.err


def test_a_broken_project_file_is_named_with_its_line(cli, project):
    """A wrong value says where it stands."""
    (project / "penstock.toml").write_text('log_level = "loud"\n')
    ran = cli("status")
    assert ran.code == Exit.USAGE
    assert "penstock.toml, line 1" in ran.err

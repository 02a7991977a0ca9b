import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from penstock.cli import query
from penstock.cli.health import Component, Health
from penstock.cli.jobs import panel
from penstock.cli.lazy import COMMANDS
from penstock.cli.output import ms, plain, usd
from penstock.cli.stack import lag_table, table
from penstock.cli.trace import await_trace
from penstock.client import JobResult
from sinks.warehouse import Rows


def test_help_lists_every_command_with_the_exit_codes(cli):
    """The overview is complete and says what exit codes mean."""
    ran = cli("--help")
    assert ran.code == 0
    assert all(name in ran.out for name in COMMANDS)
    assert "Exit codes: 0" in ran.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(cli, command):
    """Each command loads, and has a help text of its own."""
    ran = cli(command, "--help")
    assert ran.code == 0
    assert f"Usage: penstock {command}" in ran.out


def test_version(cli):
    """The version is that of the installed package."""
    assert cli("--version").out.startswith("penstock ")


# --- lint ---------------------------------------------------------------------------------------------------------


def test_lint_of_a_good_folder(cli):
    """Warnings are shown, and are no error."""
    ran = cli("lint")
    assert ran.code == 0
    assert "warning" in ran.out
    assert "greet: 0 errors" in ran.out


def test_lint_names_file_line_field_and_mend(cli, project):
    """A broken folder: every problem with its place, what was found, and how to mend it."""
    settings = project / "workflows" / "greet" / "workflow.toml"
    settings.write_text(settings.read_text().replace('model = "tiny"', 'model = "tinny"'))
    ran = cli("lint")
    assert ran.code == 1
    assert f"{settings}:7: error: ladder.0.model: 'tinny' is not in models.toml → did you mean tiny?" in ran.out


def test_lint_as_json(cli, project):
    """The same for programs."""
    (project / "workflows" / "greet" / "workflow.toml").write_text("task = \n")
    ran = cli("lint", "--json")
    said = json.loads(ran.out)
    assert (ran.code, said["ok"]) == (1, False)
    problem = said["problems"][0]
    assert set(problem) == {"folder", "file", "line", "field", "found", "mend", "level"}
    assert (problem["file"], problem["line"], problem["level"]) == ("workflow.toml", 1, "error")


def test_lint_of_a_folder_that_is_not_there(cli):
    """A wrong path is a problem, not a traceback."""
    ran = cli("lint", "workflows/gone")
    assert ran.code == 1
    assert "no such folder" in ran.out


def test_lint_with_broken_models(cli, project):
    """A broken models.toml is a problem of every workflow."""
    (project / "models.toml").write_text("[models.tiny]\n")
    ran = cli("lint")
    assert ran.code == 1
    assert "models.toml" in ran.out


# --- query --------------------------------------------------------------------------------------------------------

ANSWER = Rows(
    ("name", "cost", "at", "tags"),
    (
        (None, Decimal("0.000000001"), datetime(2026, 1, 1, tzinfo=UTC), ["a"]),
        ("", None, None, []),
        ("NULL", Decimal("1.5"), None, {"k": "[red]v[/]"}),
    ),
)


def test_null_is_neither_empty_nor_a_word(text):
    """Unknown, empty text and the text NULL are three things."""
    lines = text(query.table(ANSWER)).splitlines()
    assert lines[1].startswith("∅")
    assert lines[2].startswith("    ")
    assert lines[3].startswith("NULL")
    assert "0.000000001" in lines[1]
    assert "{'k': '[red]v[/]'}" in lines[3]
    assert lines[4].startswith("3 rows")


def test_long_answers_are_cut_for_people_only(text):
    """A table ends at 500 rows and says so."""
    shown = text(query.table(Rows(("n",), tuple((n,) for n in range(501)))))
    assert "the first 500 of 501 rows" in shown
    assert "\n499" in shown.replace(" ", "")
    assert "\n500" not in shown.replace(" ", "").replace("thefirst500", "")


def test_csv_keeps_null_apart(capsys):
    r"""NULL is \N, as ClickHouse itself writes it."""
    query.write_csv(ANSWER)
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows[0] == ["name", "cost", "at", "tags"]
    assert rows[1][:3] == ["\\N", "1E-9", "2026-01-01T00:00:00+00:00"]
    assert rows[2][:2] == ["", "\\N"]


# --- status -------------------------------------------------------------------------------------------------------


def health(**states):
    parts = {name: Component(state, f"{name}:1", f"the {name} is ill") for name, state in states.items()}
    return Health(parts, {"intake": 7, "sink": 0})


def test_health_is_that_of_its_parts():
    """One ill component makes the whole ill, and its sentence is told."""
    assert health(broker="running", warehouse="external").healthy
    ill = health(broker="running", warehouse="unhealthy")
    assert not ill.healthy
    assert ill.problems == ("the warehouse is ill",)


def test_a_broker_that_can_not_be_asked_is_a_problem():
    """Lag that is unknown is not lag zero."""
    found = Health({"broker": Component("running", "b:1")}, None, "no answer")
    assert not found.healthy
    assert found.problems == ("no answer",)


def test_status_tables(text):
    """Components and waiting records, each under its name."""
    found = health(broker="running", model_server="restarting")
    assert "model server" in text(table(found))
    assert "restarting" in text(table(found))
    assert text(lag_table(found)).split() == ["waiting", "records", "intake", "sink", "7", "0"]


# --- submit -------------------------------------------------------------------------------------------------------


def outcome(**more):
    known = {
        "job_id": "j1",
        "tenant": "t",
        "status": "accepted",
        "output": {"intent": "card_arrival"},
        "confidence": 0.93,
        "workflow": "banking_intent",
        "workflow_version": "c607",
        "variant": "small",
        "model": "tiny",
        "cost_usd": Decimal("0.00012"),
        "attempts": 1,
        "trace_id": "a" * 32,
    }
    return JobResult(**known | more)


def test_a_result_for_people(text):
    """Status, answer, confidence, cost and the next command."""
    shown = text(panel(outcome()))
    for part in ("accepted", '"intent": "card_arrival"', "0.930", "$0.0001200 in 1 attempt", "penstock trace j1"):
        assert part in shown


def test_an_escalated_job_says_who_must_look(text):
    """A proposal is not shown as an answer."""
    waiting = outcome(
        status="escalated",
        open=True,
        output=None,
        proposed={"intent": "x"},
        confidence=None,
        expires_at=datetime(2026, 1, 8, tzinfo=UTC),
    )
    shown = text(panel(waiting))
    assert "a person (banking_intent's reviewers) until 2026-01-08 00:00 UTC" in shown
    assert "a proposal, not an answer" in shown
    assert "unknown" in shown


# --- small things -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "shown"),
    [(None, "unknown"), (Decimal(0), "$0"), (Decimal("0.00000012"), "$0.0000001"), (Decimal("12.345"), "$12.3450")],
)
def test_money_for_people(amount, shown):
    """Unknown is no amount, and small amounts are not rounded to nothing."""
    assert shown in usd(amount)


@pytest.mark.parametrize(("value", "shown"), [(0.25, "0.2 ms"), (25, "25 ms"), (2500, "2.50 s")])
def test_times_for_people(value, shown):
    """Units fit the size."""
    assert ms(value) == shown


def test_json_keeps_money_exact():
    """A decimal is text in JSON: no float loses its digits."""
    assert plain(Decimal("0.000000001")) == "0.000000001"


def test_an_unknown_job_is_waited_for_a_little():
    """The sink writes in batches, so a trace that is not there yet is asked for again, and given up in time."""

    class Empty:
        asked = 0

        def query(self, *_args, **_more):
            self.asked += 1
            return Rows(("tenant",), ())

    warehouse = Empty()
    assert await_trace(warehouse, "j1", None, 0.5) is None
    assert warehouse.asked >= 2

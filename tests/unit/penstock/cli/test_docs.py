import re
from pathlib import Path

import pytest

from penstock.cli.codes import Exit
from penstock.cli.lazy import COMMANDS
from penstock.client.job import JobFields
from penstock.settings import Settings
from schemas.job import Job
from schemas.stages import Status

DOCS = Path(__file__).parents[4] / "docs"


@pytest.fixture(scope="module")
def operate():
    """The page for operators."""
    return (DOCS / "operate.md").read_text()


@pytest.fixture(scope="module")
def publish():
    """The page for those who publish and read."""
    return (DOCS / "publish.md").read_text()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_described(operate, command):
    """No command is only in the program."""
    assert re.search(rf"^\| `penstock {command}\b", operate, re.MULTILINE)


@pytest.mark.parametrize("code", Exit)
def test_every_exit_code_is_described(operate, code):
    """What the shell gets can be looked up."""
    assert f"| {code.value} |" in operate


@pytest.mark.parametrize("setting", sorted(set(Settings.model_fields) - {"project"}))
def test_every_setting_is_described(operate, setting):
    """No setting is only in the program."""
    assert re.search(rf"^\|.*`{setting}`", operate, re.MULTILINE)


def test_no_setting_is_only_described(operate):
    """What the page names as a setting exists."""
    table = operate.split("| setting |")[1]
    named = re.findall(r"`([a-z_]+)`", " ".join(row.split("|")[1] for row in table.splitlines()[2:] if "|" in row))
    assert set(named) <= set(Settings.model_fields)


@pytest.mark.parametrize("field", sorted(set(Job.model_fields) - {"reply_topic"}))
def test_every_field_of_a_job_is_described(publish, field):
    """A producer can look up every field that intake takes."""
    assert f"`{field}`" in publish or f'"{field}"' in publish


def test_the_client_offers_no_field_that_a_job_lacks():
    """What the client sends, intake takes; the trace context is a header."""
    assert set(JobFields.__annotations__) - {"traceparent"} <= set(Job.model_fields)


@pytest.mark.parametrize(
    "status", [Status.ACCEPTED, Status.REJECTED, Status.FAILED, Status.EXPIRED, Status.OVER_BUDGET]
)
def test_statuses_are_described(publish, status):
    """A consumer can look up how a job may end."""
    assert f"`{status.value}`" in publish


def test_the_tests_that_the_docs_name_are_there():
    """Who wants to see a promise kept finds the test under its name."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (DOCS / "elsewhere.md").read_text())
    assert len(named) > 20
    missing = [(file, test) for file, test in named if f"def {test}(" not in (DOCS.parent / file).read_text()]
    assert missing == []

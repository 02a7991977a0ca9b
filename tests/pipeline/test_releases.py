"""Releases on the real stack: workers that start at once, owners that switch while jobs flow."""

import json
import shutil
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from penstock import releases, wanted
from penstock.cli.app import run_command
from penstock.lines import connection
from penstock.settings import load_settings
from processors.releases import Act
from streams.kafka.follower import Follower
from streams.kafka.switchboard import Switchboard

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[2]
ACT = Act("a test", "because", datetime(2026, 11, 21, tzinfo=UTC))


@pytest.fixture
def project(stack, tmp_path, monkeypatch):
    """A project of the test's own, whose files it may change, with topics of its own."""
    for name in ("penstock.toml", "models.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "workflows" / "banking_intent", tmp_path / "workflows" / "banking_intent")
    settings = {"PROJECT": str(tmp_path), "BROKER": stack.broker, "MODEL_SERVER_URL": stack.model_server_url}
    for name, value in (settings | {"PREFIX": f"rel-{uuid.uuid4().hex[:8]}."}).items():
        monkeypatch.setenv(f"PENSTOCK_{name}", value)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def cli(capsys):
    """Give a function that runs one command line: exit code, what it printed as JSON, standard error."""

    def run(*arguments):
        code = run_command([*arguments, "--json"])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else None, said.err

    return run


def hand_over(project):
    """Another owner, and so another version."""
    path = project / "workflows" / "banking_intent" / "workflow.toml"
    path.write_text(path.read_text().replace('owner = "support-automation"', 'owner = "cards"'))


def test_workers_that_start_at_once_activate_once(project):
    """None fails, and the history has one activation."""
    settings = load_settings()
    link = connection(settings)
    wanted.ensure(settings, link)
    active, heard = set(), []

    def on_control(version, control):
        heard.append(version)
        active.add(control.name)

    follower = Follower(link, on_control, lambda _: None)
    follower.start()
    at_once = threading.Barrier(4)

    def start(_):
        at_once.wait(30)
        return releases.activate_missing(settings, ACT, has_version=lambda name: name in active)

    try:
        with ThreadPoolExecutor(4) as workers:
            published = [one for found in workers.map(start, range(4)) for one in found]
    finally:
        follower.close()
    assert [one.bundle.workflow for one in published if one.control_version is not None] == ["banking_intent"]
    with Switchboard(link) as board:
        assert board.state.activations["banking_intent"].good == ()
        assert len(board.published("banking_intent")) == 1
    assert len(heard) == 1


def test_a_version_from_the_folder_into_force_and_back(project, cli):
    """Published, compared, activated, rolled back, frozen: each command says what is in force after it."""
    code, first, err = cli("publish", "banking_intent", "--activate")
    assert code == 0, err
    old = first["published"][0]["version"]
    hand_over(project)
    _, differs, _ = cli("diff", "banking_intent")
    assert list(differs["files"]) == ["workflow.toml"]
    assert '+owner = "cards"' in differs["files"]["workflow.toml"]
    _, second, _ = cli("publish", "banking_intent")
    new = second["published"][0]["version"]
    assert (second["published"][0]["new"], second["published"][0]["active"]) == (True, False)
    code, switched, err = cli("activate", "banking_intent", new[:6], "--why", "handed over")
    assert (code, switched["active"]) == (0, new), err
    _, shown, _ = cli("versions", "banking_intent")
    assert [(one["version"], one["active"], one["last_known_good"]) for one in shown["versions"]] == [
        (new, True, False),
        (old, False, True),
    ]
    assert cli("freeze", "banking_intent", "--why", "an audit")[0] == 0
    _, back, _ = cli("rollback", "banking_intent", "--why", "worse")
    assert (back["active"], back["record"]["good"], back["record"]["why"]) == (old, [], "worse")
    code, _, err = cli("activate", "banking_intent", new, "--why", "again")
    assert code == 1
    assert "is frozen by" in err
    assert "an audit" in err
    assert cli("unfreeze", "banking_intent", "--why", "done")[0] == 0
    assert cli("activate", "banking_intent", new, "--why", "again")[1]["active"] == new


def test_refusals_name_the_mend_and_change_nothing(project, cli):
    """What can't come into force is refused with exit code 1, before anything is written."""
    code, _, err = cli("versions", "banking_intent")
    assert code == 1
    assert "publish it: penstock publish banking_intent" in err
    cli("publish", "--activate")
    for command in (("rollback", "banking_intent"), ("activate", "banking_intent", "feed")):
        code, said, err = cli(*command, "--why", "x")
        assert (code, said) == (1, None), err
    toml = project / "workflows" / "banking_intent" / "workflow.toml"
    toml.write_text(toml.read_text().replace('model = "local-small"', 'model = "locl-small"'))
    code, _, err = cli("publish", "banking_intent", "--activate")
    assert code == 1
    assert "did you mean local-small?" in err
    _, shown, _ = cli("versions", "banking_intent")
    assert [one["active"] for one in shown["versions"]] == [True]

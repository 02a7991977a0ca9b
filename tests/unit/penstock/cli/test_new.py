import json
import shutil
from pathlib import Path

import pytest

from penstock.cli.app import run_command

ROOT = Path(__file__).parents[4]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with the repository's models and no workflow."""
    for name in ("penstock.toml", "models.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setenv("PENSTOCK_PROJECT", str(tmp_path))
    return tmp_path


def cli(capsys, *arguments):
    code = run_command(list(arguments))
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize("labels", ["", "low,medium,high"])
def test_a_new_workflow_lints_and_renders(project, capsys, labels):
    """What is written can be released as it is, but for warnings, and its prompt shows labels and schema."""
    code, out, err = cli(capsys, "new", "priority", "--labels", labels, "--json")
    assert code == 0, err
    assert json.loads(out)["errors"] == []
    code, out, _ = cli(capsys, "lint", "--json")
    assert (code, json.loads(out)["ok"]) == (0, True)
    code, out, _ = cli(capsys, "render", "priority", "--text", "the house is on fire", "--json")
    system, user = json.loads(out)["messages"]
    assert "the house is on fire" in user["content"]
    assert '"required":["label"]' in system["content"] if labels else '"required":["answer"]' in system["content"]
    assert all(f"- {label}:" in system["content"] for label in labels.split(",") if label)


def test_a_provider_of_one_s_own_is_added(project, capsys):
    """With its key's variable; the rest of models.toml stays as it was, and its prices are unknown."""
    before = (project / "models.toml").read_text()
    told = ("--base-url", "https://models.example/v1", "--model-id", "big-9", "--key-env", "BIG_KEY", "--tier", "C")
    code, _, err = cli(capsys, "new", "priority", *told)
    assert code == 0, err
    after = (project / "models.toml").read_text()
    assert after.startswith(before)
    assert 'api_key_env = "BIG_KEY"' in after
    assert 'model = "priority"' in (project / "workflows" / "priority" / "workflow.toml").read_text()
    code, out, _ = cli(capsys, "lint")
    assert code == 0
    assert 'add "logprobs" to its capabilities in models.toml' in " ".join(out.split())
    (project / "models.toml").write_text(after.replace("# capabilities", "capabilities"))
    code, out, _ = cli(capsys, "lint")
    assert (code, "logprobs" in out) == (0, False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("new", "Priority"), "can't be named 'Priority'"),
        (("new", "priority", "--model", "nobody"), "no model 'nobody'; it has local-large, local-mid, local-small"),
        (("new", "priority", "--base-url", "https://x/v1"), "go together"),
        (("new", "priority", "--key-env", "K"), "go together"),
    ],
)
def test_what_can_t_be_made_is_refused_and_leaves_nothing(project, capsys, arguments, said):
    """Nothing is half written."""
    before = (project / "models.toml").read_text()
    code, _, err = cli(capsys, *arguments)
    assert code in {1, 2}
    assert said in err
    assert (project / "models.toml").read_text() == before
    assert not (project / "workflows").exists()


def test_a_folder_that_is_there_is_left_alone(project, capsys):
    """Nobody's work is overwritten."""
    assert cli(capsys, "new", "priority")[0] == 0
    toml = project / "workflows" / "priority" / "workflow.toml"
    toml.write_text(toml.read_text() + "# mine\n")
    code, _, err = cli(capsys, "new", "priority")
    assert code == 2
    assert "is there already" in err
    assert toml.read_text().endswith("# mine\n")


def test_a_taken_name_is_no_second_provider(project, capsys):
    """models.toml is not left broken."""
    before = (project / "models.toml").read_text()
    code, _, err = cli(capsys, "new", "local", "--base-url", "https://x/v1", "--model-id", "m")
    assert code != 0, err
    assert (project / "models.toml").read_text() == before

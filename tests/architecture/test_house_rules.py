"""Rules of the house that no linter knows: sizes, docstrings of tests, what documents promise, what locks may hold."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
import typer

from penstock.cli.app import app
from penstock.settings import ENV_PREFIX, Settings

ROOT = Path(__file__).parents[2]
ROOMS = ("penstock", "streams", "processors", "sinks", "schemas")
MAX_LINES = 300
MAX_FUNCTION_LINES = 60

READ_ELSEWHERE = {
    "PENSTOCK_FAIL_POINT": "for tests of crashes: streams/fail_points.py reads it",
    "PENSTOCK_MODEL_SERVER_API_KEY": "a secret of the local model server, which reads it itself",
    "PENSTOCK_TEST_CLICKHOUSE_URL": "of the tests",
}
"""Variables of ours that are no settings."""


def tracked(*patterns):
    """The project's files: those under version control and those about to be."""
    listed = subprocess.run(
        ("git", "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", *patterns),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


DOCUMENTS = tracked("*.md")


@pytest.mark.parametrize("room", ROOMS)
def test_files_and_functions_stay_small(room):
    """A file is read in one go, a function is seen at once."""
    long = []
    for path in (ROOT / room).rglob("*.py"):
        text = path.read_text()
        if text.count("\n") > MAX_LINES:
            long.append(f"{path.relative_to(ROOT)} has {text.count(chr(10))} lines")
        long += [
            f"{path.relative_to(ROOT)}:{node.lineno} {node.name} has {lines_of(node)} lines"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and lines_of(node) > MAX_FUNCTION_LINES
        ]
    assert long == []


def lines_of(function):
    """The lines of a function without its docstring."""
    first = function.body[0]
    docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return function.end_lineno - function.lineno - (first.end_lineno - first.lineno + 1 if docstring else 0)


def test_every_test_says_what_it_shows():
    """A test's docstring is one sentence about behaviour: what to believe when it passes."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_documents_name_only_make_targets_that_exist():
    """Whoever follows a document finds the target."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name for path in DOCUMENTS for name in re.findall(r"(?:`|^|\$ )make ([a-z-]+)", path.read_text(), re.MULTILINE)
    }
    assert named <= targets


def test_documents_name_only_commands_that_exist():
    """Every `penstock <command>` in a document is one."""
    command = typer.main.get_command(app)
    known = set(command.list_commands(command.make_context("penstock", [], resilient_parsing=True)))
    named = {
        (name, path.name)
        for path in DOCUMENTS
        for name in re.findall(r"(?:`|^|\$ |run )penstock ([a-z][a-z-]+)", path.read_text(), re.MULTILINE)
    }
    assert {(name, place) for name, place in named if name not in known} == set()


def test_documents_and_containers_name_only_settings_that_exist():
    """A variable that somebody copies from a document or the compose file does something."""
    places = [*DOCUMENTS, *tracked("docker-compose.yml", "Dockerfile", "deploy/*", "models.toml")]
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields} | READ_ELSEWHERE.keys()
    named = {
        (name.partition("__")[0], path.name)
        for path in places
        for name in re.findall(r"\bPENSTOCK_[A-Z][A-Z_]*[A-Z]", path.read_text())
    }
    assert {(name, place) for name, place in named if name not in known} == set()


def test_documents_link_to_what_exists():
    """A relative link in a document leads somewhere."""
    dead = [
        f"{path.relative_to(ROOT)}: {link}"
        for path in DOCUMENTS
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text())
        if not link.startswith(("http://", "https://", "mailto:")) and not (path.parent / link).exists()
    ]
    assert dead == []


def test_locks_name_no_index_and_hash_every_package():
    """A lock works behind any index, and nothing is installed that was not seen before."""
    locks = tracked("requirements/*.txt")
    assert len(locks) >= 4
    for lock in locks:
        text = lock.read_text()
        assert not re.search(r"https?://|--(extra-)?index-url|--find-links|--trusted-host", text), lock.name
        packages = re.findall(r"^[A-Za-z0-9][^\n#]*==[^\n]*", text, re.MULTILINE)
        assert packages
        assert all(package.rstrip().endswith("\\") for package in packages), lock.name


def test_no_file_knows_the_machine_it_was_written_on():
    """No path of somebody's home or workspace is in the project."""
    of_a_machine = re.compile(r"(?<![\w./~])/(?:home|root|Users|work|workspace)/\w")
    found = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in of_a_machine.finditer(text)]
    assert found == []

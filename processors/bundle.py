"""A workflow's folder into a bundle: exactly the files that change what the workflow does, and so its version.

workflow.toml, prompts/<name>/*.md, tools/<name>.toml, input.schema.json, output.schema.json, rules.toml,
calibration.json, prior.json and policy.cases.jsonl are the bundle. evals/ and README.md are not: adding a case or
mending a sentence makes no new version. Line ends are the same on every system.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from processors.problems import Problem, WorkflowError, errors_of
from processors.toml_text import nearest
from schemas.control import Bundle

SETTINGS = "workflow.toml"
INPUT_SCHEMA = "input.schema.json"
OUTPUT_SCHEMA = "output.schema.json"
CALIBRATION = "calibration.json"
PRIOR = "prior.json"
RULES = "rules.toml"
POLICY_CASES = "policy.cases.jsonl"
CASES = "evals/cases.jsonl"

_NAMED = (SETTINGS, INPUT_SCHEMA, OUTPUT_SCHEMA, RULES, CALIBRATION, PRIOR, POLICY_CASES)
_PROMPT = re.compile(r"prompts/[a-z][a-z0-9_-]*/[a-z][a-z0-9_-]*\.md")
_TOOL = re.compile(r"tools/[a-z][a-z0-9_-]{0,62}\.toml")
_BESIDE = re.compile(r"README\.md|evals/.+|(.*/)?\.[^/]*")
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def read_bundle(folder: Path, commit: str | None = None) -> Bundle:
    """The bundle of a workflow's folder, unchecked but for its files' names; `commit` is the git commit, if any.

    Raises:
        WorkflowError: the folder is no workflow, or holds a file that no workflow has.
    """
    files, problems = scan(folder)
    if errors_of(problems):
        raise WorkflowError(problems)
    return Bundle(workflow=folder.resolve().name, files=files, commit=commit)


def scan(folder: Path) -> tuple[dict[str, str], tuple[Problem, ...]]:
    """The bundle's files by path, and what is wrong with the folder itself."""
    files: dict[str, str] = {}
    problems: list[Problem] = list(_folder_problems(folder))
    for path in sorted(folder.rglob("*")) if not problems else ():
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or _BESIDE.fullmatch(name):
            continue
        if name not in _NAMED and not _PROMPT.fullmatch(name) and not _TOOL.fullmatch(name):
            beside = "prompts are prompts/<name>/system.md, user.md or another .md to include, tools tools/<name>.toml"
            mend = f"{nearest(name, _NAMED)}; {beside}"
            problems.append(Problem(name, 0, "", "a workflow has no such file", mend))
            continue
        try:
            files[name] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            problems.append(Problem(name, 0, "", f"it can't be read: {error}", "write it as UTF-8"))
    return files, tuple(problems)


def _folder_problems(folder: Path) -> Iterator[Problem]:
    if not folder.is_dir():
        yield Problem(str(folder), 0, "", "there is no such folder", "name a folder under workflows/")
    elif not NAME.fullmatch(folder.resolve().name):
        found = f"a workflow can't be named {folder.resolve().name!r}"
        yield Problem(str(folder), 0, "", found, "use lower-case letters, digits and _, a letter first, at most 63")
    elif not (folder / SETTINGS).is_file():
        yield Problem(SETTINGS, 0, "", "it is missing", "add it with task, owner and one [[ladder]] rung")

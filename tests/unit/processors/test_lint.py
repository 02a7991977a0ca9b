import json
import tomllib
from datetime import date
from pathlib import Path

import jsonschema_rs
import pytest

from processors.lint import lint, releasable, settings_schema
from processors.models import load_models
from processors.problems import Level
from processors.workflow import compile_workflow
from schemas.control import Bundle

ROOT = Path(__file__).parents[3]
CASES = "".join(
    json.dumps({"id": f"c{i}", "input": {"text": "hello"}, "expected": {"intent": "a"}}) + "\n" for i in range(50)
)


def test_a_good_workflow_has_only_the_warnings_it_deserves(files, folder, models):
    """Without a calibration each variant is warned about, and nothing keeps the version back."""
    problems = lint(folder(files | {"evals/cases.jsonl": CASES}), models)
    assert releasable(problems)
    assert [problem.found.split()[1] for problem in problems] == ["large", "mid", "small"]


def test_the_shipped_workflow_is_clean():
    """banking_intent has no problem at all, neither error nor warning."""
    models = load_models(ROOT / "models.toml", environ={})
    assert lint(ROOT / "workflows" / "banking_intent", models, date(2026, 11, 21)) == ()


def test_what_a_strict_mode_refuses_is_a_warning(files, folder, models):
    """A provider that can't enforce the schema would answer nothing: lint says where and what, and the mend."""
    provider = models.providers["one"].model_copy(update={"base_url": "https://api.openai.com/v1"})
    at_openai = models.model_copy(update={"providers": {**models.providers, "one": provider}})
    opened = json.loads(files["output.schema.json"]) | {"additionalProperties": True}
    changed = folder(files | {"output.schema.json": json.dumps(opened), "evals/cases.jsonl": CASES})
    [problem] = [one for one in lint(changed, at_openai) if one.file == "output.schema.json"]
    assert problem.level is Level.WARNING
    assert "provider one enforces no schema with this: additionalProperties must be false" in problem.found
    assert "take json_schema from the capabilities of tiny-1" in problem.mend
    assert not [one for one in lint(changed, models) if one.file == "output.schema.json"]


def test_a_ladder_that_personal_data_may_not_climb_is_found(files, folder, models):
    """Where no rung may see the data nothing could be chosen: an error; where some may not, a warning."""
    text = files["workflow.toml"].replace('task = "classify"', 'task = "classify"\ndata_class = "personal"')
    at = folder(files | {"workflow.toml": text, "evals/cases.jsonl": CASES})
    [problem] = [one for one in lint(at, models) if one.field == "data_class"]
    assert (problem.level, problem.line) == (Level.ERROR, 3)
    assert "model tiny is not self-hosted, and the data is personal; model middle" in problem.found
    assert "self_hosted in models.toml" in problem.mend
    one = models.providers["one"].model_copy(update={"self_hosted": True})
    hosted = models.model_copy(update={"providers": {**models.providers, "one": one}})
    [problem] = [one for one in lint(at, hosted) if one.field == "data_class"]
    assert problem.level is Level.WARNING
    assert problem.found == "model grand is not self-hosted, and the data is personal"


MISTAKES = [
    ("workflow.toml", 'owner = "someone"', 'ownr = "someone"', (3, "ownr"), "did you mean owner?"),
    ("workflow.toml", 'model = "middle"', 'model = "midle"', (13, "ladder.1.model"), "did you mean middle?"),
    ("workflow.toml", 'tier = "A"', 'tier = "B"', (7, "ladder.0.tier"), "models.toml says that tiny is tier A"),
    ("workflow.toml", 'tier = "C"', 'tier = "A"', (18, "ladder.2.tier"), "tier A comes after tier B"),
    ("workflow.toml", 'variant = "mid"', 'variant = "small"', (11, "ladder.1.variant"), "already rung 0"),
    ("workflow.toml", 'tier = "B"', "tier = ", (12, ""), "this is not TOML"),
    ("workflow.toml", 'prompt = "small"', 'prompt = "smal"', (14, "ladder.1.prompt"), "no prompts/smal/user.md"),
    ("workflow.toml", "[[", "[gate]\naccept_at = 0.5\n[[", (5, "gate.climb_below"), "is above accept_at"),
    (
        "workflow.toml",
        '"tiny"',
        '"tiny"\nparams = { max_tokens = 101 }',
        (9, "ladder.0.params.max_tokens"),
        "at most 100",
    ),
    ("workflow.toml", '"tiny"', '"tiny"\nparams = { seeed = 1 }', (9, "ladder.0.params.seeed"), "temperature"),
    ("prompts/small/user.md", "input.text", "inptu.text", (1, "inptu"), "did you mean input?"),
    ("prompts/small/user.md", "Text: {{ input.text", "Text:\n{{ input.txt", (2, ""), "has no attribute 'txt'"),
    ("prompts/small/user.md", "input.text", "input.n", (1, ""), "has no attribute 'n'"),
    ("prompts/small/user.md", "{{ input.text }}", "\n\n{{ input.text", (3, ""), "mend its Jinja syntax"),
    ("prompts/small/user.md", "Text:", '{% include "prompts/x.md" %}', (1, "include"), "can't be included"),
    ("output.schema.json", '"enum"', '"enum', (1, ""), "this is not JSON"),
    ("input.schema.json", '"type": "object"', '"type": "objct"', (1, ""), "this is no JSON Schema"),
    ("input.schema.json", '"type": "string"', '"$ref": "http://x/y"', (1, ""), "this is no JSON Schema"),
    ("evals/cases.jsonl", '"input": {"text"', '"input": {"txt"', (1, "c0"), "'txt' was unexpected"),
    ("evals/cases.jsonl", '{"intent": "a"}', '{"intent": "z"}', (1, "c0"), "/intent"),
    ("evals/cases.jsonl", '"id": "c1",', '"id": "c0",', (0, "c0"), "2 cases have this id"),
    ("evals/cases.jsonl", '{"id": "c0",', '{"id": "c0"', (1, ""), "this is no case"),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_each_mistake_is_named_with_file_line_field_and_mend(files, folder, models, mistake):
    """Whatever an owner can get wrong is found before release, with its place and its mend."""
    file, old, new, place, said = mistake
    content = files | {"evals/cases.jsonl": CASES}
    assert old in content[file]
    problems = lint(folder(content | {file: content[file].replace(old, new, 1)}), models)
    assert not releasable(problems)
    found = [problem for problem in problems if (problem.file, problem.line, problem.field) == (file, *place)]
    assert found, problems
    assert said in str(found[0])


def test_an_optional_field_may_be_used_behind_a_question(files, folder, models):
    """A template that asks whether the field is there passes."""
    text = "{{ input.text }}{% if input.n is defined %}{{ input.n }}{% endif %}"
    assert releasable(lint(folder(files | {"prompts/small/user.md": text}), models))


def test_few_cases_are_a_warning(files, folder, models):
    """Fewer than fifty cases keep no version from being looked at, but are said."""
    problems = lint(folder(files | {"evals/cases.jsonl": CASES[:500].rpartition("\n")[0]}), models)
    assert any("a release needs at least 50" in problem.mend for problem in problems)
    assert releasable(problems)


MISFITS = [
    ('"variant": "small"', '"variant": "smal"', "no rung has the variant", Level.ERROR),
    ('"slope": 1.0', '"slope": -1.0', "its slope is not negative", Level.ERROR),
    ('"accept_at": 0.85', '"accept_at": 0.8', "its bound holds at 0.8", Level.WARNING),
    ('"2026-01-01"', '"2020-01-01"', "more than 365 days ago", Level.WARNING),
]


@pytest.mark.parametrize("misfit", MISFITS, ids=str)
def test_a_calibration_that_does_not_match_is_found(files, folder, models, calibration_for, misfit):
    """A map for nobody is an error; one that is old or bounds another threshold is a warning."""
    old, new, said, level = misfit
    content = files | {"workflow.toml": "review_every_days = 365\n" + files["workflow.toml"]}
    text = calibration_for(compile_workflow(Bundle(workflow="sorting", files=content)))
    assert old in text
    path = folder(content | {"calibration.json": text.replace(old, new)})
    found = [problem for problem in lint(path, models, date(2026, 6, 1)) if said in problem.found]
    assert [problem.level for problem in found] == [level]


def test_a_prompt_that_does_not_fit_the_window_is_found(files, folder, models):
    """A prompt longer than the model's window is refused before it costs anything."""
    tight = models.models["tiny"].model_copy(update={"context_window": 120})
    narrowed = models.model_copy(update={"models": {**models.models, "tiny": tight}})
    path = folder(files | {"prompts/small/system.md": "word " * 50})
    assert "has a window of 120" in str(lint(path, narrowed)[0])


def test_a_missing_folder_is_a_problem_and_not_an_exception(tmp_path, models):
    """Whatever path lint is given, it answers."""
    assert "there is no such folder" in str(lint(tmp_path / "nowhere", models)[0])


def test_editors_get_the_schema_that_lint_goes_by(files):
    """The project's own workflow and the smallest one fit it; a misspelt key and a tier that is none do not."""
    check = jsonschema_rs.validator_for(settings_schema())
    ours = ROOT / "workflows" / "banking_intent" / "workflow.toml"
    for text in (ours.read_text(), files["workflow.toml"]):
        assert check.is_valid(tomllib.loads(text))
        assert not check.is_valid(tomllib.loads(text.replace("owner", "ownr", 1)))
        assert not check.is_valid(tomllib.loads(text.replace('tier = "A"', 'tier = "D"', 1)))

"""lint: everything about a workflow's folder that can be known to be wrong before it is released."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Template

from processors.bundle import CALIBRATION, CASES, INPUT_SCHEMA, OUTPUT_SCHEMA, POLICY_CASES, PRIOR, SETTINGS, scan
from processors.cases import FORM, read_case
from processors.golden import golden_problems
from processors.models import Capability, Models
from processors.policy.ladder import barred
from processors.problems import Level, Problem, errors_of
from processors.prompts import RenderError, rendered
from processors.providers.strictness import refusals
from processors.sample import sample
from processors.settings import Rung, WorkflowSettings
from processors.toml_text import line_of, nearest
from processors.tools.agent import LONGEST_S
from processors.tools.definitions import FOLDER
from processors.workflow import Workflow, examine
from schemas.base import json_text
from schemas.control import Bundle

MIN_CASES = 50


def lint(folder: Path, models: Models, today: date | None = None) -> tuple[Problem, ...]:
    """What is wrong with a workflow's folder, errors before warnings; nothing means it can be released.

    Args:
        folder: the workflow's folder.
        models: the project's models.
        today: enables the check that the calibration is not older than `review_every_days`.
    """
    files, problems = scan(folder)
    found = list(problems)
    if SETTINGS in files:
        bundle = Bundle.model_construct(workflow=folder.resolve().name, files=files)
        workflow, more = _of_bundle(bundle, models, today)
        found += more
        if workflow is not None:
            found += _case_problems(folder / CASES, workflow)
    return _errors_first(found)


def lint_bundle(bundle: Bundle, models: Models, today: date | None = None) -> tuple[Problem, ...]:
    """What is wrong with a bundle, wherever it comes from; the same arguments otherwise."""
    return _errors_first(_of_bundle(bundle, models, today)[1])


def _of_bundle(bundle: Bundle, models: Models, today: date | None) -> tuple[Workflow | None, list[Problem]]:
    workflow, problems = examine(bundle)
    found = list(problems)
    if workflow is not None:
        found += _ladder_problems(workflow, models, bundle.files[SETTINGS])
        found += _data_problems(workflow, models, bundle.files[SETTINGS])
        found += _strictness_problems(workflow, models)
        found += _unused_tools(workflow)
        found += _slow_tools(workflow, bundle.files[SETTINGS])
        found += _prompt_problems(workflow, bundle.files)
        found += _calibration_problems(workflow, models, today)
        found += _prior_problems(workflow)
        if not errors_of(found):  # a policy over models that are not there says nothing
            found += golden_problems(bundle.files.get(POLICY_CASES, ""), workflow, models)
    return workflow, found


def settings_schema() -> dict[str, Any]:
    """The JSON Schema of workflow.toml, for editors: its keys, their types and bounds, and what each section is for."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **WorkflowSettings.model_json_schema()}


def _errors_first(found: list[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(found, key=lambda problem: problem.level is Level.WARNING))


def releasable(problems: tuple[Problem, ...]) -> bool:
    """Whether only warnings were found."""
    return not errors_of(problems)


def _ladder_problems(workflow: Workflow, models: Models, text: str) -> Iterator[Problem]:
    for i, rung in enumerate(workflow.settings.ladder):
        model = models.models.get(rung.model)
        if model is None:
            found, mend = f"{rung.model!r} is not in models.toml", nearest(rung.model, models.models)
            yield Problem(SETTINGS, line_of(text, ("ladder", i, "model")), f"ladder.{i}.model", found, mend)
            continue
        if model.tier is not rung.tier:
            found = f"tier {rung.tier}, but models.toml says that {rung.model} is tier {model.tier}"
            line = line_of(text, ("ladder", i, "tier"))
            yield Problem(SETTINGS, line, f"ladder.{i}.tier", found, "make the two agree")
        if (rung.params.max_tokens or 0) > model.max_output_tokens:
            found = f"max_tokens {rung.params.max_tokens}, but {rung.model} writes at most {model.max_output_tokens}"
            line = line_of(text, ("ladder", i, "params"))
            yield Problem(SETTINGS, line, f"ladder.{i}.params.max_tokens", found, "lower it")
        yield from _window_problems(workflow, i, rung, models, text)
        if rung.tools and Capability.TOOLS not in model.capabilities:
            found = f"{rung.model} has no capability tools in models.toml"
            line = line_of(text, ("ladder", i, "tools"))
            yield Problem(SETTINGS, line, f"ladder.{i}.tools", found, "take a model that can call them, or drop them")
        for name in rung.fallbacks:
            if name not in models.models:
                found, mend = f"{name!r} is not in models.toml", nearest(name, models.models)
                line = line_of(text, ("ladder", i, "fallbacks"))
                yield Problem(SETTINGS, line, f"ladder.{i}.fallbacks", found, mend)


def _data_problems(workflow: Workflow, models: Models, text: str) -> Iterator[Problem]:
    """A workflow of personal data whose ladder, or a part of it, may not see it."""
    ladder, data = workflow.settings.ladder, workflow.settings.data_class
    why = [barred(name, models, data) for rung in ladder for name in (rung.model, *rung.fallbacks)]
    hindered = list(dict.fromkeys(filter(None, why)))
    if hindered:
        level = Level.WARNING if None in why else Level.ERROR
        mend = "take models of providers that are self_hosted in models.toml; the others are never called for it"
        yield Problem(SETTINGS, line_of(text, ("data_class",)), "data_class", "; ".join(hindered), mend, level)


def _unused_tools(workflow: Workflow) -> Iterator[Problem]:
    offered = {name for rung in workflow.settings.ladder for name in rung.tools}
    for name in sorted(workflow.tools.keys() - offered):
        mend = "name it in a rung's tools, or remove it"
        yield Problem(f"{FOLDER}{name}.toml", 0, "", "no rung offers it to its model", mend, Level.WARNING)


def _slow_tools(workflow: Workflow, text: str) -> Iterator[Problem]:
    """Rungs whose tools could take all the time that a conversation has, waits between tries left out."""
    calls = workflow.settings.agent.max_calls
    for i, rung in enumerate(workflow.settings.ladder):
        offered = [workflow.tools[name].settings for name in rung.tools if name in workflow.tools]
        longest = calls * max((one.timeout_s * (1 + one.retries) for one in offered), default=0.0)
        if longest > LONGEST_S:
            found = (
                f"{calls} calls of its slowest tool can take {longest:g} s; at {LONGEST_S:g} s the model must answer"
            )
            mend = "lower the tool's timeout_s or retries, or agent.max_calls"
            line = line_of(text, ("ladder", i, "tools"))
            yield Problem(SETTINGS, line, f"ladder.{i}.tools", found, mend, Level.WARNING)


def _strictness_problems(workflow: Workflow, models: Models) -> Iterator[Problem]:
    """What providers that are asked to enforce the output's schema would refuse of it: they answer nothing then."""
    told = set()
    for rung in workflow.settings.ladder:
        for model in (models.models[name] for name in (rung.model, *rung.fallbacks) if name in models.models):
            provider = models.providers[model.provider]
            if Capability.JSON_SCHEMA not in model.capabilities or (schema := workflow.output_schema) is None:
                continue
            for place, why in refusals(provider, schema.definition):
                if (place, why) not in told:
                    told.add((place, why))
                    found = f"provider {model.provider} enforces no schema with this: {why}"
                    mend = f"mend it, or take json_schema from the capabilities of {model.id}: a tool takes any schema"
                    yield Problem(OUTPUT_SCHEMA, 0, place, found, mend, Level.WARNING)


def _window_problems(workflow: Workflow, i: int, rung: Rung, models: Models, text: str) -> Iterator[Problem]:
    model = models.models[rung.model]
    # Four bytes a token: the prompt alone must leave room; what the job adds is found out when it runs.
    needs = workflow.prompt(rung).size // 4 + (rung.params.max_tokens or model.max_output_tokens)
    if model.context_window is not None and needs > model.context_window:
        found = f"prompt and answer need about {needs} tokens, but {rung.model} has a window of {model.context_window}"
        line = line_of(text, ("ladder", i))
        yield Problem(SETTINGS, line, f"ladder.{i}.prompt", found, "shorten the prompt, or take another model")


def _prompt_problems(workflow: Workflow, files: dict[str, str]) -> Iterator[Problem]:
    """Templates that fail on an input that the schema allows, with all of its fields or only the required ones."""
    if INPUT_SCHEMA not in files:
        return
    for prompt in workflow.prompts.values():
        for template in (prompt.system, prompt.user):
            if template is not None:
                yield from _render_problems(template, workflow)


def _render_problems(template: Template, workflow: Workflow) -> Iterator[Problem]:
    for required_only in (False, True):
        value = sample(workflow.input_schema.definition, required_only=required_only)
        variables = {"input": value, "chunks": (), "segments": {}, "output_schema": ""}
        try:
            rendered(template, variables)
        except RenderError as error:
            mend = "name a field of input.schema.json, and make it required there or ask `is defined` first"
            yield Problem(template.name or "", error.line, "", error.said, mend)
            return


def _calibration_problems(workflow: Workflow, models: Models, today: date | None) -> Iterator[Problem]:
    variants = {rung.variant for rung in workflow.settings.ladder}
    limit = workflow.settings.review_every_days
    for i, fitted in enumerate(workflow.calibration.maps):
        place = f"maps.{i}"
        if fitted.variant not in variants:
            found = f"no rung has the variant {fitted.variant!r}"
            yield Problem(CALIBRATION, 1, f"{place}.variant", found, nearest(fitted.variant, variants))
        elif isinstance(why := workflow.map_for(fitted.variant, fitted.model), str):
            yield Problem(CALIBRATION, 1, place, why, "fit it anew with penstock calibrate, or remove it")
        accept_at = workflow.settings.gate.accept_at
        if fitted.evidence.accept_at != accept_at:
            found = f"its bound holds at {fitted.evidence.accept_at}, the gate accepts at {accept_at}"
            yield Problem(CALIBRATION, 1, place, found, "fit it anew with penstock calibrate", Level.WARNING)
        if limit and today and fitted.evidence.fitted_on + timedelta(days=limit) < today:
            found = f"fitted on {fitted.evidence.fitted_on}, more than {limit} days ago"
            yield Problem(CALIBRATION, 1, place, found, "review the workflow and fit it anew", Level.WARNING)
    fitted_for = {fitted.variant for fitted in workflow.calibration.maps}
    for rung in sorted(workflow.settings.ladder, key=lambda rung: rung.variant):
        if rung.variant not in fitted_for:
            yield _uncalibrated(rung, models)


def _uncalibrated(rung: Rung, models: Models) -> Problem:
    """That a variant has no calibration, and what is to be done first."""
    model = models.models.get(rung.model)
    found = f"variant {rung.variant} has no calibration: its confidence is unknown and its answers go to a person"
    mend = "fit it with penstock calibrate"
    if model is not None and Capability.LOGPROBS not in model.capabilities:
        found += f", and {rung.model} is not said to give log-probabilities, which confidence is made of"
        mend = f'add "logprobs" to its capabilities in models.toml (penstock providers check {rung.model}), then {mend}'
    return Problem(CALIBRATION, 0, "maps", found, mend, Level.WARNING)


def _prior_problems(workflow: Workflow) -> Iterator[Problem]:
    for i, scale in enumerate(workflow.prior.scales if workflow.prior else ()):
        if not scale.held_out.worth_it:
            found = f"it knows no more of when {scale.variant} is needed than an input's length tells: it is not used"
            yield Problem(PRIOR, 1, f"scales.{i}", found, "train it on more answers, or remove it", Level.WARNING)


def _case_problems(path: Path, workflow: Workflow) -> Iterator[Problem]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    ids: Counter[str] = Counter()
    for number, line in enumerate(lines, 1):
        try:
            case = read_case(line)
        except ValueError as error:
            yield Problem(CASES, number, "", f"this is no case ({error})", f"write {FORM}")
            continue
        ids[case.id] += 1
        violations = [f"input{said}" for said in workflow.input_schema.violations(case.input)]
        violations += [] if case.expected is None else _expected_violations(workflow, json.loads(case.expected))
        for said in violations:
            yield Problem(CASES, number, case.id, said, "mend the case, or the schema")
    for name in sorted(name for name, count in ids.items() if count > 1):
        yield Problem(CASES, 0, name, f"{ids[name]} cases have this id", "give each an id of its own")
    if len(lines) < MIN_CASES:
        mend = f"add cases: a release needs at least {MIN_CASES}"
        yield Problem(CASES, 0, "", f"{len(lines)} cases", mend, Level.WARNING)


def _expected_violations(workflow: Workflow, expected: Any) -> list[str]:
    if workflow.output_schema is None:
        return [] if isinstance(expected, str) else [f"expected: is no text: {json_text(expected)[:80]}"]
    return [f"expected{said}" for said in workflow.output_schema.violations(expected)]

"""A compiled workflow: a bundle's files read, checked against each other, and made ready to run. Frozen and shared."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from pydantic import ValidationError

from processors.bundle import CALIBRATION, INPUT_SCHEMA, OUTPUT_SCHEMA, PRIOR, RULES, SETTINGS
from processors.checks.schema import Schema
from processors.evaluators.calibration import Calibration, Map
from processors.policy.business import ASKED, NO_RULES, BusinessRules, Compiled, Rulebook, compile_business
from processors.policy.prior import Prior
from processors.policy.rules import VARIABLES, Rule, compile_rules
from processors.problems import Problem, WorkflowError, errors_of
from processors.prompts import PER_VERSION, Opening, Prompt, RenderError, Templates, opening, rendered
from processors.settings import Rung, WorkflowSettings, contradictions
from processors.toml_text import Settings, line_of, nearest, read_toml
from processors.tools.definitions import FOLDER, Tool, read_tools
from schemas.base import JsonText, json_text, sha256_hex
from schemas.control import Bundle

ANY_OBJECT = Schema({"type": "object"})
F = TypeVar("F", bound=Settings)


@dataclass(frozen=True, slots=True)
class Workflow:
    """One version of a workflow, ready to run. `output_schema` is absent when the answer is text."""

    name: str
    version: str
    settings: WorkflowSettings
    prompts: Mapping[str, Prompt]
    input_schema: Schema
    output_schema: Schema | None
    output_fragment: Any
    calibration: Calibration
    prior: Prior | None
    fallback: JsonText | None
    rules: tuple[Rule, ...]
    business: Rulebook
    tools: Mapping[str, Tool]
    variant_hashes: Mapping[str, str]

    def rung(self, index: int) -> Rung | None:
        """The rung at this place of the ladder; nothing beyond its end."""
        return self.settings.ladder[index] if 0 <= index < len(self.settings.ladder) else None

    def prompt(self, rung: Rung) -> Prompt:
        """The prompt of a rung."""
        return self.prompts[rung.prompt_name]

    def map_for(self, variant: str, model: str) -> Map | str:
        """The calibration for a variant and the model that answered, or why there is none."""
        fitted = self.calibration.map_for(variant, model)
        if fitted is None:
            return f"no calibration for variant {variant} on {model}"
        if fitted.variant_sha256 != self.variant_hashes[variant]:
            return f"the calibration for variant {variant} on {model} was fitted on another prompt or other parameters"
        return fitted


def compile_workflow(bundle: Bundle) -> Workflow:
    """The bundle, ready to run.

    Raises:
        WorkflowError: something in it is wrong; the problems say what and how to mend it.
    """
    workflow, problems = examine(bundle)
    if workflow is None:
        raise WorkflowError(errors_of(problems))
    return workflow


def examine(bundle: Bundle) -> tuple[Workflow | None, tuple[Problem, ...]]:
    """The compiled workflow and what is wrong with it; there is no workflow if any problem is an error."""
    reader = _Reader(bundle.files)
    settings = reader.settings()
    if settings is None:
        return None, tuple(reader.problems)
    input_schema, output_schema = reader.schema(INPUT_SCHEMA), reader.schema(OUTPUT_SCHEMA)
    output_text = json_text(output_schema.definition) if output_schema else ""
    prompts = reader.prompts(settings, output_text)
    calibration = reader.fitted(CALIBRATION, Calibration, "penstock calibrate") or Calibration()
    prior = reader.fitted(PRIOR, Prior, "penstock train-router")
    rules = reader.rules(settings)
    business = reader.business(output_schema)
    fallback = reader.fallback(settings, output_schema)
    tools = reader.tools(settings)
    if reader.problems:
        return None, tuple(reader.problems)
    hashes = {rung.variant: _variant_hash(rung, prompts[rung.prompt_name], bundle) for rung in settings.ladder}
    if prior is not None and (misfits := tuple(prior.misfits(hashes))):
        mend = "fit it anew with penstock train-router, or remove it"
        return None, tuple(Problem(PRIOR, 1, "variants", said, mend) for said in misfits)
    return Workflow(
        name=bundle.workflow,
        version=bundle.version,
        settings=settings,
        prompts=prompts,
        input_schema=input_schema or ANY_OBJECT,
        output_schema=output_schema,
        output_fragment=orjson.Fragment(output_text) if output_schema else None,
        calibration=calibration,
        prior=prior,
        fallback=fallback,
        rules=rules,
        business=business,
        tools=tools,
        variant_hashes=hashes,
    ), ()


def _variant_hash(rung: Rung, prompt: Prompt, bundle: Bundle) -> str:
    """What a calibration is bound to: the prompt with all it includes, model, parameters, tools and output schema."""
    prompts = {path: bundle.files[path] for path in prompt.sources}
    params = rung.params.model_dump(exclude_none=True)  # a parameter that is added one day voids nothing
    parts = [prompts, rung.model, params, bundle.files.get(OUTPUT_SCHEMA)]
    if rung.tools:
        parts.append({name: bundle.files[f"{FOLDER}{name}.toml"] for name in rung.tools})
    return sha256_hex(json_text(parts))


class _Reader:
    """Reads a bundle's files one after the other and keeps what is wrong with them."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = files
        self.problems: list[Problem] = []

    def settings(self) -> WorkflowSettings | None:
        text = self.files.get(SETTINGS)
        if text is None:
            self.problems.append(Problem(SETTINGS, 0, "", "it is missing", "a bundle needs it"))
            return None
        found = read_toml(SETTINGS, text, WorkflowSettings)
        if isinstance(found, tuple):
            self.problems.extend(found)
            return None
        for path, said, mend in contradictions(found):
            self.problems.append(Problem(SETTINGS, line_of(text, path), ".".join(map(str, path)), said, mend))
        return found

    def schema(self, file: str) -> Schema | None:
        """The compiled schema; nothing if there is none, or if it is wrong."""
        if file not in self.files:
            return None
        try:
            return Schema(orjson.loads(self.files[file]))
        except orjson.JSONDecodeError as error:
            self.problems.append(Problem(file, error.lineno, "", f"this is not JSON: {error}", "mend its syntax"))
        except (ValueError, TypeError) as error:
            said = " ".join(str(error).split())
            self.problems.append(Problem(file, 1, "", f"this is no JSON Schema: {said}", "mend it for draft 2020-12"))
        return None

    def rules(self, settings: WorkflowSettings) -> tuple[Rule, ...]:
        """The routing rules, compiled."""
        found = []
        for rule in compile_rules(settings.routing.rules):
            if isinstance(rule, Rule):
                found.append(rule)
                continue
            place, said = rule
            line = line_of(self.files[SETTINGS], ("routing", "rules", place, "when"))
            mend = f"a CEL condition over {', '.join(VARIABLES)}"
            self.problems.append(Problem(SETTINGS, line, f"routing.rules.{place}.when", said, mend))
        return tuple(found)

    def business(self, schema: Schema | None) -> Rulebook:
        """The business rules, compiled."""
        text = self.files.get(RULES)
        found = read_toml(RULES, text, BusinessRules) if text is not None else BusinessRules()
        if isinstance(found, tuple):
            self.problems.extend(found)
            return NO_RULES
        compiled = []
        for rule in compile_business(found):
            if isinstance(rule, Compiled):
                compiled.append(rule)
                continue
            place, said = rule
            line = line_of(text or "", ("rules", place, "when"))
            mend = f"a CEL condition over {', '.join(ASKED)}"
            self.problems.append(Problem(RULES, line, f"rules.{place}.when", said, mend))
        self._refuse_unknown_fields(found, schema, text or "")
        return Rulebook(tuple(compiled))

    def _refuse_unknown_fields(self, rules: BusinessRules, schema: Schema | None, text: str) -> None:
        definition = {} if schema is None else schema.definition
        known = definition.get("properties", {}) if isinstance(definition, dict) else {}
        for place, rule in enumerate(rules.rules):
            for name in rule.set or ():
                if name not in known:
                    line = line_of(text, ("rules", place, "set"))
                    found = f"{name!r} is no field of {OUTPUT_SCHEMA}"
                    mend = f"one of {', '.join(known) or 'its properties'}"
                    self.problems.append(Problem(RULES, line, f"rules.{place}.set", found, mend))

    def tools(self, settings: WorkflowSettings) -> dict[str, Tool]:
        """The tools, compiled; every one that a rung names must be there."""
        tools, problems = read_tools(self.files)
        self.problems.extend(problems)
        for i, rung in enumerate(settings.ladder):
            for name in rung.tools:
                if f"{FOLDER}{name}.toml" not in self.files:
                    line = line_of(self.files[SETTINGS], ("ladder", i, "tools"))
                    known = [file.removeprefix(FOLDER).removesuffix(".toml") for file in self.files if FOLDER in file]
                    said = f"there is no {FOLDER}{name}.toml"
                    self.problems.append(Problem(SETTINGS, line, f"ladder.{i}.tools", said, nearest(name, known)))
        return tools

    def fallback(self, settings: WorkflowSettings, schema: Schema | None) -> JsonText | None:
        """The fallback's answer as JSON text, if there is one; it must be an answer like any other."""
        if settings.fallback is None:
            return None
        wanted = orjson.loads(orjson.dumps(settings.fallback.output, default=float))
        if schema is not None:
            violations = schema.violations(wanted)
        else:
            violations = () if isinstance(wanted, str) else ("it is no text",)
        if violations:
            line = line_of(self.files[SETTINGS], ("fallback", "output"))
            found = f"it does not fit what an answer must be: {violations[0]}"
            mend = "make it an answer that may be given"
            self.problems.append(Problem(SETTINGS, line, "fallback.output", found, mend))
        return json_text(wanted)

    def fitted(self, file: str, model: type[F], made_by: str) -> F | None:
        """A file that a command has written; nothing if there is none, or if it is wrong."""
        text = self.files.get(file)
        if text is None:
            return None
        try:
            return model.model_validate_json(text)
        except ValidationError as error:
            for detail in error.errors()[:5]:
                place = ".".join(map(str, detail["loc"]))
                self.problems.append(Problem(file, 1, place, detail["msg"], f"write it anew with {made_by}"))
        return None

    def prompts(self, settings: WorkflowSettings, output_schema: str) -> dict[str, Prompt]:
        """The prompts that the ladder names, by name."""
        templates = Templates(self.files)
        self.problems.extend(templates.problems())
        if self.problems:
            return {}
        made: dict[str, Prompt] = {}
        for i, rung in enumerate(settings.ladder):
            name = rung.prompt_name
            if f"prompts/{name}/user.md" not in self.files:
                line = line_of(self.files[SETTINGS], ("ladder", i, "prompt" if rung.prompt else "variant"))
                found = f"the prompt {name!r} has no prompts/{name}/user.md"
                self.problems.append(Problem(SETTINGS, line, f"ladder.{i}.prompt", found, "write that file"))
            elif name not in made:
                made.update(self._prompt(templates, name, output_schema))
        return made

    def _prompt(self, templates: Templates, name: str, output_schema: str) -> Iterator[tuple[str, Prompt]]:
        system, user = f"prompts/{name}/system.md", f"prompts/{name}/user.md"
        first: Opening | None = None
        try:
            if system in self.files and templates.speaks_of(system) <= PER_VERSION:
                first = opening(rendered(templates.template(system), {"output_schema": output_schema}))
        except RenderError as error:
            self.problems.append(Problem(system, 1, "", str(error), "mend the template"))
            return
        sources = templates.sources(user) | (templates.sources(system) if system in self.files else frozenset())
        yield (
            name,
            Prompt(
                name=name,
                system=templates.template(system) if system in self.files else None,
                user=templates.template(user),
                opening=first,
                output_schema=output_schema,
                sources=sources,
                size=sum(len(self.files[path].encode()) for path in sources),
            ),
        )

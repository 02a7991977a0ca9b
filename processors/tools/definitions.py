"""tools/<name>.toml: a tool as its owner defines it, compiled. What it takes and gives is checked on both ways."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import Field, field_validator

from processors.checks.schema import Schema
from processors.problems import Problem
from processors.toml_text import Settings, line_of, read_toml
from schemas.base import json_text

FOLDER: Final = "tools/"
OURS: Final = "TOOL_"
"""How the variables of the environment begin that a tool may read: a bundle must not reach a provider's key."""
_VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}")
_OWN_NAME: Final = "answer"


class ToolSettings(Settings):
    """One tool: where it answers, what it takes and gives (JSON Schema), and what may be asked of it.

    Arguments go as a JSON body, or in the query of a GET. `idempotent` says that a repetition does no harm: only then
    is a call repeated that may have arrived. `allow` lists the values that an argument may have. `key_env` is sent as a
    bearer token.
    """

    description: Annotated[str, Field(min_length=1, max_length=1000)]
    url: Annotated[str, Field(min_length=1)]
    method: Literal["POST", "GET"] = "POST"
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    retries: Annotated[int, Field(ge=0, le=5)] = 2
    idempotent: bool = False
    key_env: Annotated[str, Field(pattern=f"^{OURS}[A-Z0-9_]+$")] | None = None
    max_bytes: Annotated[int, Field(gt=0, le=1_048_576)] = 65_536
    allow: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(default_factory=dict)
    input: dict[str, Any]
    output: dict[str, Any]

    @field_validator("allow", "input", "output", mode="before")
    @classmethod
    def _as_json(cls, value: Any) -> Any:
        """TOML's numbers with a point are read as decimals; JSON's are doubles."""
        return orjson.loads(orjson.dumps(value, default=float))


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool, ready to be called. `parameters` is its input's schema, encoded."""

    name: str
    settings: ToolSettings
    takes: Schema
    gives: Schema
    parameters: Any

    def objection(self, arguments: Any) -> str | None:
        """Why it may not be called with these arguments; nothing if it may."""
        if not isinstance(arguments, dict):
            return "its arguments are no JSON object"
        if wrong := self.takes.violations(arguments):
            return f"its arguments do not fit: {'; '.join(wrong)}"
        for name, allowed in self.settings.allow.items():
            if name in arguments and arguments[name] not in allowed:
                return f"argument {name} = {json_text(arguments[name])[:80]} is not on its allow-list"
        return None

    def url(self, environ: Mapping[str, str] = os.environ) -> str:
        """Where it answers, with variables of the environment filled in; one that is missing leaves nothing."""
        return _VARIABLE.sub(lambda found: environ.get(found[1], found[2] or ""), self.settings.url)


def read_tools(files: Mapping[str, str]) -> tuple[dict[str, Tool], tuple[Problem, ...]]:
    """A bundle's tools by name, and what is wrong with them."""
    tools: dict[str, Tool] = {}
    problems: list[Problem] = []
    for file in sorted(file for file in files if file.startswith(FOLDER)):
        found = _tool(file, files[file])
        if isinstance(found, Tool):
            tools[found.name] = found
        else:
            problems += found
    return tools, tuple(problems)


def _tool(file: str, text: str) -> Tool | tuple[Problem, ...]:
    settings = read_toml(file, text, ToolSettings)
    if isinstance(settings, tuple):
        return settings
    name = file.removeprefix(FOLDER).removesuffix(".toml")
    problems = list(_contradictions(file, text, name, settings))
    schemas = []
    for part in ("input", "output"):
        try:
            schemas.append(Schema(getattr(settings, part)))
        except (ValueError, TypeError) as error:
            said = f"this is no JSON Schema: {' '.join(str(error).split())}"
            problems.append(Problem(file, line_of(text, (part,)), part, said, "mend it for draft 2020-12"))
    if problems:
        return tuple(problems)
    return Tool(name, settings, schemas[0], schemas[1], orjson.Fragment(json_text(settings.input)))


def _contradictions(file: str, text: str, name: str, settings: ToolSettings) -> Iterator[Problem]:
    """What no single key shows."""
    if name == _OWN_NAME:
        yield Problem(file, 0, "", f"a tool can't be called {name!r}", "rename it: that one is the answer itself")
    for variable, _ in _VARIABLE.findall(settings.url):
        if not variable.startswith(OURS):
            said, mend = f"it reads {variable}", f"name a variable that begins with {OURS}: others are not for bundles"
            yield Problem(file, line_of(text, ("url",)), "url", said, mend)
    if not _VARIABLE.sub("http://x", settings.url, 1).startswith(("http://", "https://")):
        yield Problem(
            file, line_of(text, ("url",)), "url", f"found {settings.url!r}", "start it with http:// or https://"
        )
    if settings.input.get("type") != "object":
        line = line_of(text, ("input",))
        yield Problem(file, line, "input.type", "its arguments are no object", 'add type = "object" to [input]')
    known = settings.input.get("properties", {})
    for argument in settings.allow:
        if argument not in known:
            line, said = line_of(text, ("allow", argument)), "it is no property of [input]"
            yield Problem(file, line, f"allow.{argument}", said, f"one of {', '.join(known) or 'its properties'}")

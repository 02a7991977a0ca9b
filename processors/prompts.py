"""Prompts: Jinja templates in a sandbox, where an undefined variable is an error, and what they may speak of."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jiter
import orjson
from jinja2 import DictLoader, StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from processors.problems import Problem
from processors.providers.port import ChatMessage
from processors.toml_text import nearest
from schemas.base import json_text
from schemas.job import Job

PER_VERSION = frozenset({"output_schema"})
"""Variables that are the same for every job of a version: a template that uses no other is rendered once."""

PER_JOB = frozenset({"input", "chunks", "segments"})
"""Variables that come with the job: its input, the chunks of its snapshot, its segments."""

OFFERED = PER_VERSION | PER_JOB


class RenderError(ValueError):
    """A template can't be rendered for this job; the message names the template, its line and the variable."""

    def __init__(self, template: str, line: int, said: str) -> None:
        self.line = line
        self.said = said
        super().__init__(f"{template}:{line}: {said}")


@dataclass(frozen=True, slots=True)
class Opening:
    """A system prompt that is the same for every job: written, hashed and encoded once."""

    message: ChatMessage
    digest: Any


@dataclass(frozen=True, slots=True)
class Rendered:
    """The messages for the model, and the hash of the prompt that they are."""

    messages: tuple[ChatMessage, ...]
    sha256: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """The templates of one folder under prompts/.

    `sources` are the files they are made of, included ones too; `size` is the length of those in UTF-8 bytes.
    """

    name: str
    system: Template | None
    user: Template
    opening: Opening | None
    output_schema: str
    sources: frozenset[str]
    size: int

    def render(self, job: Job) -> Rendered:
        """The prompt for a job: system, then the turns that the job brought, then user.

        Raises:
            RenderError: a template speaks of something that this job does not have.
        """
        variables = variables_of(job)
        messages: list[ChatMessage] = []
        digest = hashlib.sha256() if self.opening is None else self.opening.digest.copy()
        if self.opening is not None:
            messages.append(self.opening.message)
        elif self.system is not None:
            text = rendered(self.system, variables | {"output_schema": self.output_schema})
            messages.append(_hashed(digest, "system", text))
        messages += [_hashed(digest, turn["role"], turn["content"]) for turn in turns_of(job)]
        text = rendered(self.user, variables | {"output_schema": self.output_schema})
        messages.append(_hashed(digest, "user", text))
        return Rendered(tuple(messages), digest.hexdigest())


def variables_of(job: Job) -> dict[str, Any]:
    """What the templates may speak of, from the job."""
    chunks = () if job.context is None else job.context.chunks
    return {"input": jiter.from_json(job.input.encode()), "chunks": chunks, "segments": job.segments}


def turns_of(job: Job) -> list[dict[str, str]]:
    """The earlier turns of the conversation that the job brought, as intake has checked them."""
    turns: list[dict[str, str]] = [] if job.messages is None else orjson.loads(job.messages)
    return turns


def opening(text: str) -> Opening:
    """A fixed system prompt, ready to be sent and hashed on."""
    digest = hashlib.sha256()
    message = _hashed(digest, "system", text)
    return Opening(ChatMessage(message.role, message.content, encoded(message.role, message.content)), digest)


def encoded(role: str, content: str) -> orjson.Fragment:
    """The message as JSON that the body takes over as it is."""
    return orjson.Fragment(orjson.dumps({"role": role, "content": content}))


def _hashed(digest: Any, role: str, content: str) -> ChatMessage:
    digest.update(f"{role}\x00{content}\x00".encode())
    return ChatMessage(role, content)


def rendered(template: Template, variables: Mapping[str, Any]) -> str:
    """The template's text for these variables.

    Raises:
        RenderError: the template fails on them.
    """
    try:
        return template.render(variables).strip()
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise RenderError(template.name or "", _line_in(template, error), str(error)) from error


def _line_in(template: Template, error: BaseException) -> int:
    """The template's line at which it failed; 0 if the trace does not say."""
    line, step = 0, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == (template.filename or template.name):
            line = step.tb_lineno
        step = step.tb_next
    return line


class Templates:
    """The templates of a bundle. `{% include "prompts/shared/x.md" %}` takes any other file under prompts/."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = {path: text for path, text in files.items() if path.startswith("prompts/")}
        # A prompt is no HTML: escaping would change what the model reads.
        self._environment = ImmutableSandboxedEnvironment(
            loader=DictLoader(self._files),
            undefined=StrictUndefined,
            autoescape=False,
            trim_blocks=True,
        )
        self._environment.filters["tojson"] = json_text
        # Every global is copied into every rendering: a prompt keeps the one it may need.
        self._environment.globals = {"range": self._environment.globals["range"]}

    def template(self, path: str) -> Template:
        """The compiled template.

        Raises:
            jinja2.TemplateError: its syntax is wrong, or there is no such file.
        """
        return self._environment.get_template(path)

    def sources(self, path: str) -> frozenset[str]:
        """The template and all that it includes, however deep."""
        found: set[str] = set()
        waiting = [path]
        while waiting:
            here = waiting.pop()
            if here in self._files and here not in found:
                found.add(here)
                parsed = self._environment.parse(self._files[here])
                waiting.extend(name for name in meta.find_referenced_templates(parsed) if name)
        return frozenset(found)

    def speaks_of(self, path: str) -> frozenset[str]:
        """The variables that the template and what it includes speak of."""
        parsed = (self._environment.parse(self._files[source]) for source in self.sources(path))
        return frozenset(name for tree in parsed for name in meta.find_undeclared_variables(tree))

    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the templates, before any job is there to render them for."""
        unreadable = tuple(problem for path in self._files for problem in self._unreadable(path))
        return unreadable or tuple(problem for path in self._files for problem in self._unknown(path))

    def _unreadable(self, path: str) -> Iterator[Problem]:
        try:
            self.template(path)
        except TemplateError as error:
            line = getattr(error, "lineno", None) or 1
            yield Problem(path, line, "", f"the template can't be read: {error}", "mend its Jinja syntax")

    def _unknown(self, path: str) -> Iterator[Problem]:
        parsed = self._environment.parse(self._files[path])
        for name in sorted(meta.find_undeclared_variables(parsed) - OFFERED):
            found = f"{name!r} is no variable of a prompt"
            yield Problem(path, self._line_with(path, name), name, found, nearest(name, OFFERED))
        for included in meta.find_referenced_templates(parsed):
            if included not in self._files or path in self.sources(included):
                mend = "include a file under prompts/ by its path in the bundle, as a plain string"
                line = self._line_with(path, "include")
                yield Problem(path, line, "include", f"{included!r} can't be included", mend)

    def _line_with(self, path: str, word: str) -> int:
        lines = enumerate(self._files[path].splitlines(), 1)
        return next((number for number, text in lines if word in text), 1)

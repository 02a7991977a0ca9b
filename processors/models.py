"""models.toml: which providers there are, which models they serve, what a token costs. No call is made here."""

import os
import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from processors.problems import ModelsError, Problem
from processors.toml_text import Settings, line_of, nearest, read_toml
from schemas.stages import Tier

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
Price = Annotated[Decimal, Field(ge=0, le=100_000)]


class Dialect(StrEnum):
    """How a provider wants to be spoken to, by the endpoint that speaks it; bedrock and cohere are read, not called."""

    OPENAI_CHAT = "openai_chat"
    OPENAI_RESPONSES = "openai_responses"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"
    MISTRAL = "mistral"
    BEDROCK = "bedrock"
    COHERE = "cohere"


class Capability(StrEnum):
    """What a model can do beyond answering."""

    JSON_SCHEMA = "json_schema"
    LOGPROBS = "logprobs"
    TOOLS = "tools"


CalledDialect = Literal[
    Dialect.OPENAI_CHAT, Dialect.OPENAI_RESPONSES, Dialect.ANTHROPIC, Dialect.GEMINI, Dialect.MISTRAL
]


class ProviderSettings(Settings):
    """Where a provider listens and how it is to be treated. Time-outs are seconds; the key stays in the environment.

    With `stream` an answer is read as it is written, so that one that does not begin or stops halfway is noticed. A
    call that takes longer than `slow_s` counts against its model's breaker. Only providers that are `self_hosted`, so
    that what they are sent stays in the house, are sent personal data.
    """

    base_url: str
    dialect: CalledDialect = Dialect.OPENAI_CHAT
    stream: bool = True
    self_hosted: bool = False
    api_key_env: str | tuple[str, ...] | None = None
    max_in_flight: Annotated[int, Field(ge=1, le=10_000)] = 64
    connect_timeout_s: Annotated[float, Field(gt=0, le=600)] = 5.0
    first_token_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    between_tokens_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 15.0
    total_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    slow_s: Annotated[float, Field(gt=0, le=3600)] | None = None

    @property
    def key_variables(self) -> tuple[str, ...]:
        """The variables of the environment that hold its keys; several are used in turn."""
        named = self.api_key_env
        return (named,) if isinstance(named, str) else named or ()


class Prices(Settings):
    """US dollars per million tokens, as decimals: all that a model costs. A price that is absent is unknown, not zero.

    `cached_usd` is the price of reading from a cache, `cache_write_usd` that of writing to one.
    """

    input_usd: Price | None = None
    output_usd: Price | None = None
    cached_usd: Price | None = None
    cache_write_usd: Price | None = None


class Model(Settings):
    """One model: its id at its provider, its size class, its prices and limits (in tokens)."""

    provider: str
    id: Annotated[str, Field(min_length=1)]
    tier: Tier
    prices: Prices = Prices()
    context_window: Annotated[int, Field(gt=0)] | None = None
    max_output_tokens: Annotated[int, Field(gt=0)] = 1024
    capabilities: frozenset[Capability] = frozenset()
    limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"


class Models(Settings):
    """All providers and models by the names that workflows, control and traces use."""

    providers: Annotated[Mapping[str, ProviderSettings], Field(min_length=1)]
    models: Annotated[Mapping[str, Model], Field(min_length=1)]


def load_models(
    path: Path, *, overrides: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None
) -> Models:
    """The models of a project's models.toml.

    Args:
        path: the file.
        overrides: base URLs by provider name, which win over the file's.
        environ: what `${NAME}` and `${NAME:-default}` in a base URL read; the process's environment by default.

    Raises:
        ModelsError: the file is missing or wrong; the problems name line, field and mend.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem(str(path), 0, "", f"it can't be read: {error}", "a project needs a models.toml in UTF-8")
        raise ModelsError([problem]) from error
    return read_models(path.name, text, overrides or {}, os.environ if environ is None else environ)


def read_models(file: str, text: str, overrides: Mapping[str, str], environ: Mapping[str, str]) -> Models:
    """The same from text.

    Raises:
        ModelsError: the text is wrong; the problems name line, field and mend.
    """
    found = read_toml(file, text, Models)
    if isinstance(found, tuple):
        raise ModelsError(found)
    providers = dict(found.providers)
    strange = overrides.keys() - providers.keys()
    problems = [
        Problem(file, 0, f"providers.{name}", "an override names it", nearest(name, providers)) for name in strange
    ]
    for name, provider in providers.items():
        url, problem = _base_url(overrides.get(name, provider.base_url), environ)
        providers[name] = provider.model_copy(update={"base_url": url})
        if problem:
            place = ("providers", name, "base_url")
            problems.append(Problem(file, line_of(text, place), ".".join(place), *problem))
    for name, model in found.models.items():
        if model.provider not in providers:
            place = ("models", name, "provider")
            said = f"found {model.provider!r}, which is no provider"
            problems.append(
                Problem(file, line_of(text, place), ".".join(place), said, nearest(model.provider, providers))
            )
    if problems:
        raise ModelsError(problems)
    return found.model_copy(update={"providers": providers})


def _base_url(raw: str, environ: Mapping[str, str]) -> tuple[str, tuple[str, str] | None]:
    """The URL with its variables filled in, and what is wrong with it: found and mend."""
    missing = [name for name, default in _VARIABLE.findall(raw) if name not in environ and f"{{{name}:-" not in raw]
    if missing:
        return raw, (f"{', '.join(missing)} is not in the environment", f"set it, or write ${{{missing[0]}:-default}}")
    url = _VARIABLE.sub(lambda found: environ.get(found[1], found[2] or ""), raw).rstrip("/")
    if not url.startswith(("http://", "https://")):
        return url, (f"found {url!r}", "a base URL starts with http:// or https:// and usually ends in /v1")
    return url, None

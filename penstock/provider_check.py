"""What each configured model really does: one cheap call, and what came of it beside what models.toml says of it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import orjson

from processors.models import Capability, Model, Models
from processors.pricing import cost
from processors.providers.offering import structure_of
from processors.providers.port import ChatMessage, CompletionRequest, Provider, Reply, Structure

MAX_TOKENS: Final = 64
LEFT_S: Final = 120.0
ASKED: Final = (
    "Is the message below about money? Answer in plain words, one short sentence, not in JSON.\n\n"
    "Message: I was charged twice for my train ticket."
)
"""It asks for what the schema forbids: who answers in JSON all the same was held to it."""
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"about_money": {"type": "string", "enum": ["yes", "no"]}},
    "required": ["about_money"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Checked:
    """One model: what was found. Nothing in a field means that it was not asked for, or that there was no answer."""

    model: str
    provider: str
    answered: bool
    said: str
    model_answered: str | None = None
    schema_enforced: bool | None = None
    logprobs: bool | None = None
    usage: bool | None = None
    streamed: bool | None = None
    total_ms: float | None = None
    first_token_ms: float | None = None
    cost_usd: Decimal | None = None
    cost_unknown_because: str | None = None

    @property
    def lacks(self) -> tuple[str, ...]:
        """What models.toml says that it can and it did not."""
        found = {"schema": self.schema_enforced, "log-probabilities": self.logprobs, "usage": self.usage}
        return tuple(name for name, there in found.items() if there is False)


async def check(models: Models, providers: Mapping[str, Provider], names: tuple[str, ...]) -> list[Checked]:
    """Call each of these models once, all at the same time."""
    return list(await asyncio.gather(*(_check(models, providers, name) for name in names)))


async def _check(models: Models, providers: Mapping[str, Provider], name: str) -> Checked:
    model = models.models[name]
    settings = models.providers[model.provider]
    structure = structure_of(model, settings.dialect)
    request = CompletionRequest(
        attempt_id=f"check/{name}/0/0/1",
        model=model,
        messages=(ChatMessage("user", ASKED),),
        max_tokens=min(MAX_TOKENS, model.max_output_tokens),
        total_timeout_s=settings.total_timeout_s,
        left_s=LEFT_S,
        connect_timeout_s=settings.connect_timeout_s,
        logprobs=Capability.LOGPROBS in model.capabilities,
        output_schema=None if structure is Structure.PROMPT else SCHEMA,
        structure=structure,
        stream=settings.stream,
        first_token_timeout_s=settings.first_token_timeout_s,
        between_tokens_timeout_s=settings.between_tokens_timeout_s,
    )
    began = datetime.now(UTC)
    answered = await providers[model.provider].complete(request)
    took_ms = (datetime.now(UTC) - began).total_seconds() * 1000
    if not isinstance(answered, Reply):
        said = f"{answered.error_class}: {answered.error}"
        return Checked(name, model.provider, answered=False, said=said, total_ms=took_ms)
    exchange = answered.exchange
    costs = cost(exchange.usage, settings, model, began)
    return Checked(
        name,
        model.provider,
        answered=True,
        said=answered.text,
        model_answered=exchange.model,
        schema_enforced=None if structure is Structure.PROMPT else _fits(answered.text),
        logprobs=bool(answered.logprobs) if _claims(model, Capability.LOGPROBS) else None,
        usage=exchange.usage.input_tokens is not None and exchange.usage.output_tokens is not None,
        streamed=exchange.first_token_ms is not None if settings.stream else None,
        total_ms=took_ms,
        first_token_ms=exchange.first_token_ms,
        cost_usd=costs.usd,
        cost_unknown_because=costs.unknown_because,
    )


def _claims(model: Model, capability: Capability) -> bool:
    return capability in model.capabilities


def _fits(text: str) -> bool:
    """Whether a text is JSON that fits the schema."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return isinstance(found, dict) and found.keys() == {"about_money"} and found["about_money"] in ("yes", "no")

"""What calls cost: by the prices of models.toml where they are given, else by those that genai-prices has for the time.

What is not known is nothing with a reason, never zero. No call is made here: genai-prices comes with its prices.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from processors.models import Model, Prices, ProviderSettings
from schemas.base import money
from schemas.stages import Usage

if TYPE_CHECKING:
    from genai_prices.types import PriceCalculation

PER: Final = Decimal(1_000_000)
"""Prices are US dollars for so many tokens."""
OWN: Final = "models.toml"


@dataclass(frozen=True, slots=True)
class Cost:
    """US dollars, and whose prices they rest on; or nothing, and why nobody knows."""

    usd: Decimal | None
    unknown_because: str | None = None
    source: str | None = None


def price(usage: Usage, provider: str, model: str, at: datetime) -> Cost:
    """What a call costs by the public prices of its time.

    Args:
        usage: as `processors.providers.parse` gives it: all input tokens, the cached ones among them.
        provider: its id in genai-prices, or the URL that was called.
        model: its id at the provider.
        at: when the call was made.
    """
    if (why := _incomplete(usage)) is not None:
        return Cost(None, why)
    return _by_catalogue(usage, provider, model, at)


def cost(usage: Usage, provider: ProviderSettings, model: Model, at: datetime) -> Cost:
    """What a call to a model of models.toml costs: its own prices win, all of them or none."""
    if (why := _incomplete(usage)) is not None:
        return Cost(None, why)
    if not _has_own(model.prices):
        return _by_catalogue(usage, provider.base_url, model.id, at)
    return _by_own(usage, model.prices)


def _has_own(prices: Prices) -> bool:
    """Whether models.toml names any price of a model."""
    return any(one is not None for one in prices.__dict__.values())


def _incomplete(usage: Usage) -> str | None:
    """Why a usage can't be priced."""
    read, cached = usage.input_tokens, (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0)
    if read is None or usage.output_tokens is None:
        return "the provider reported no usage"
    if cached > read:
        return f"the provider reported {cached} cached of {read} input tokens"
    return None


def _by_own(usage: Usage, prices: Prices) -> Cost:
    read, written = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
    parts = (
        ("input", (usage.input_tokens or 0) - read - written, prices.input_usd),
        ("cached", read, prices.cached_usd),
        ("cache-write", written, prices.cache_write_usd),
        ("output", usage.output_tokens or 0, prices.output_usd),
        ("web search", usage.web_searches or 0, None),
    )
    unknown = [name for name, count, one in parts if count and one is None]
    if unknown:
        return Cost(None, f"no price for {' and '.join(unknown)} tokens in models.toml")
    return Cost(money(sum((count * one for _, count, one in parts if one is not None), Decimal(0)) / PER), None, OWN)


def _by_catalogue(usage: Usage, provider: str, model: str, at: datetime) -> Cost:
    import genai_prices  # noqa: PLC0415 -- half a second, for those only whose prices are not in models.toml

    counted = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens or None,
        cache_write_tokens=usage.cache_write_tokens or None,
        cache_write_1h_tokens=usage.cache_write_1h_tokens or None,
        web_searches=usage.web_searches or None,
    )
    found: PriceCalculation
    try:
        if provider.startswith(("http://", "https://")):
            found = genai_prices.calc_price(
                counted, model, provider_api_url=provider, genai_request_timestamp=at.astimezone(UTC)
            )
        else:
            found = genai_prices.calc_price(
                counted, model, provider_id=provider, genai_request_timestamp=at.astimezone(UTC)
            )
    except LookupError as error:
        return Cost(None, f"genai-prices {genai_prices.__version__} knows no price: {error.args[0]}")
    except (ValueError, TypeError, InvalidOperation) as error:
        return Cost(None, f"genai-prices {genai_prices.__version__} can't price this usage: {error}")
    return Cost(money(found.total_price), None, f"genai-prices {genai_prices.__version__}")


def worst_cost(
    provider: ProviderSettings, model: Model, input_tokens: int, output_tokens: int, at: datetime
) -> Decimal | None:
    """The most that a call of this size can cost in US dollars; nothing when a price is unknown."""
    prices = model.prices
    if not _has_own(prices):
        usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
        return _by_catalogue(usage, provider.base_url, model.id, at).usd
    if prices.input_usd is None or prices.output_usd is None:
        return None
    dearest = max(prices.input_usd, prices.cached_usd or Decimal(0), prices.cache_write_usd or Decimal(0))
    return money((input_tokens * dearest + output_tokens * prices.output_usd) / PER)

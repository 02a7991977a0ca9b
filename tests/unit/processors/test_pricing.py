from datetime import UTC, datetime
from decimal import Decimal

import pytest

from processors.models import read_models
from processors.pricing import cost, price, worst_cost
from schemas.stages import Usage

AT = datetime(2026, 9, 1, tzinfo=UTC)
MODELS = """
[providers.anthropic]
base_url = "https://api.anthropic.com/v1"
dialect = "anthropic"
[models.known]
provider = "anthropic"
id = "claude-sonnet-4-5"
tier = "C"
[models.own]
provider = "anthropic"
id = "claude-sonnet-4-5"
tier = "C"
prices = { input_usd = 1, output_usd = 2, cached_usd = 0.5 }
[models.unheard-of]
provider = "anthropic"
id = "no-such-model"
tier = "C"
"""
SIMPLE = Usage(input_tokens=100_000, output_tokens=100_000)


@pytest.fixture(scope="module")
def listed():
    """Models of a provider that is in the catalogue, with and without prices of their own."""
    return read_models("models.toml", MODELS, {}, {})


def _cost(listed, name, usage):
    return cost(usage, listed.providers["anthropic"], listed.models[name], AT)


def test_public_prices_count_where_models_toml_has_none(listed):
    """3 and 15 US dollars a million tokens, found by the URL that is called, and said where from."""
    found = _cost(listed, "known", SIMPLE)
    assert found.usd == Decimal("1.8")
    assert found.source.startswith("genai-prices ")


def test_own_prices_win_all_of_them_or_none(listed):
    """A price that the file does not give is not filled up from the catalogue."""
    assert _cost(listed, "own", SIMPLE).usd == Decimal("0.3")
    assert _cost(listed, "own", SIMPLE).source == "models.toml"
    written = SIMPLE.model_copy(update={"cache_write_tokens": 5})
    assert _cost(listed, "own", written).unknown_because == "no price for cache-write tokens in models.toml"


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        (Usage(input_tokens=100_000, output_tokens=0, cache_read_tokens=100_000), "0.03"),
        (Usage(input_tokens=100_000, output_tokens=0, cache_write_tokens=100_000), "0.375"),
        (
            Usage(input_tokens=100_000, output_tokens=0, cache_write_tokens=100_000, cache_write_1h_tokens=100_000),
            "0.6",
        ),
        (Usage(input_tokens=0, output_tokens=0, web_searches=2), "0.02"),
        (Usage(input_tokens=0, output_tokens=100_000, reasoning_tokens=90_000), "1.5"),
    ],
)
def test_each_kind_of_token_is_paid_once_at_its_own_price(usage, usd):
    """Cached tokens are not paid as input too, nor reasoning beside the output that it is part of."""
    assert price(usage, "anthropic", "claude-sonnet-4-5", AT).usd == Decimal(usd)


@pytest.mark.parametrize(
    ("usage", "provider", "model", "said"),
    [
        (Usage(), "anthropic", "claude-sonnet-4-5", "no usage"),
        (
            Usage(input_tokens=5, output_tokens=1, cache_read_tokens=6),
            "anthropic",
            "claude-sonnet-4-5",
            "6 cached of 5",
        ),
        (SIMPLE, "anthropic", "no-such-model", "knows no price"),
        (SIMPLE, "no-such-provider", "m", "knows no price"),
        (SIMPLE, "http://127.0.0.1:18080/v1", "m", "knows no price"),
        (SIMPLE, "anthropic", "", "knows no price"),
    ],
)
def test_what_nobody_knows_is_nothing_with_a_reason(usage, provider, model, said):
    """Never zero."""
    found = price(usage, provider, model, AT)
    assert found.usd is None
    assert said in found.unknown_because


def test_the_worst_cost_of_a_model_without_prices_of_its_own(listed):
    """Budgets hold for models that only the catalogue knows, and refuse what nobody can price."""
    anthropic = listed.providers["anthropic"]
    assert worst_cost(anthropic, listed.models["known"], 1000, 1000, AT) == Decimal("0.018")
    assert worst_cost(anthropic, listed.models["unheard-of"], 1, 1, AT) is None


def test_prices_are_those_of_the_calls_time():
    """A model whose price has changed costs what it cost then."""
    long = Usage(input_tokens=300_000, output_tokens=0)  # cost more than its share until 2026-03-13
    then, now = (price(long, "anthropic", "claude-opus-4-6", at).usd for at in (datetime(2026, 2, 1, tzinfo=UTC), AT))
    assert (then, now) == (Decimal(3), Decimal("1.5"))


def _local(models, name, usage):
    model = models.models[name]
    return cost(usage, models.providers[model.provider], model, AT)


def test_cached_tokens_are_part_of_the_input_and_have_their_own_price(models):
    """1,000 input tokens of which 400 cached, 10 output: each part at its price."""
    usage = Usage(input_tokens=1000, output_tokens=10, cache_read_tokens=400)
    assert _local(models, "tiny", usage).usd == Decimal("0.000820000")


@pytest.mark.parametrize(
    ("usage", "name", "reason"),
    [
        (Usage(), "tiny", "the provider reported no usage"),
        (Usage(input_tokens=5), "tiny", "the provider reported no usage"),
        (Usage(input_tokens=5, output_tokens=1, cache_read_tokens=6), "tiny", "6 cached of 5"),
        (Usage(input_tokens=5, output_tokens=1, cache_read_tokens=2), "middle", "no price for cached tokens"),
        (Usage(input_tokens=5, output_tokens=1, web_searches=2), "tiny", "no price for web search"),
        (Usage(input_tokens=5, output_tokens=1), "priceless", "knows no price"),
    ],
)
def test_an_unknown_cost_of_an_own_price_list_is_nothing_with_its_reason(models, usage, name, reason):
    """What nobody knows is not given as a number."""
    found = _local(models, name, usage)
    assert found.usd is None
    assert reason in found.unknown_because


def test_a_price_of_zero_is_known(models):
    """A call that wrote nothing has a cost although the price of writing is unknown."""
    assert _local(models, "middle", Usage(input_tokens=0, output_tokens=0)).usd == Decimal("0E-9")


def test_the_worst_cost_takes_the_dearest_input_price(models):
    """The bound holds whatever is cached, and is unknown where a price is."""
    one = models.providers["one"]
    assert worst_cost(one, models.models["tiny"], 1_000_000, 1_000_000, AT) == Decimal(3)
    assert worst_cost(one, models.models["priceless"], 1, 1, AT) is None

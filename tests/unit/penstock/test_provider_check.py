from decimal import Decimal

import pytest

from penstock.provider_check import check
from processors.models import read_models
from processors.providers.scripted import Canned, ScriptedProvider, answer

MODELS = """
[providers.p]
base_url = "http://127.0.0.1:1/v1"
[models.able]
provider = "p"
id = "able-1"
tier = "A"
prices = { input_usd = 1, output_usd = 1 }
capabilities = ["json_schema", "logprobs"]
[models.plain]
provider = "p"
id = "plain-1"
tier = "A"
"""
YES = '{"about_money":"yes"}'


@pytest.fixture
def checked():
    """Give a function that checks a model whose provider answers this."""

    async def run(canned, name="able"):
        models = read_models("models.toml", MODELS, {}, {})
        [found] = await check(models, {"p": ScriptedProvider(lambda _: canned)}, (name,))
        return found

    return run


async def test_a_model_that_does_what_is_said_of_it(checked):
    """Held to the schema, with probabilities and usage, priced; the scripted provider answers whole."""
    found = await checked(answer(YES, model="able-1-2026"))
    assert (found.answered, found.schema_enforced, found.logprobs, found.usage) == (True, True, True, True)
    assert (found.model_answered, found.cost_usd, found.streamed) == ("able-1-2026", Decimal("0.000110000"), False)
    assert found.lacks == ()


@pytest.mark.parametrize(
    ("canned", "lacks"),
    [
        (answer("Yes, it is about money."), ("schema",)),
        (answer('{"about_money":"perhaps"}'), ("schema",)),
        (answer(YES, logprobs=None), ("log-probabilities",)),
        (Canned(b'{"choices":[{"message":{"content":"{}"},"finish_reason":"stop"}]}'),
         ("schema", "log-probabilities", "usage")),
    ],
)  # fmt: skip
async def test_what_is_promised_and_not_there_is_named(checked, canned, lacks):
    """A provider that ignores what it was asked for is found out by one call."""
    found = await checked(canned)
    assert found.answered
    assert found.lacks == lacks


async def test_what_was_not_asked_for_is_not_lacking(checked):
    """A model without capabilities may answer in plain words; its unknown price is said."""
    found = await checked(answer("Yes."), "plain")
    assert (found.schema_enforced, found.logprobs, found.lacks) == (None, None, ())
    assert "no price" in found.cost_unknown_because


async def test_no_answer_is_said_in_the_providers_words(checked):
    """With its class; nothing else is claimed to be known."""
    found = await checked(Canned(b'{"error":{"message":"wrong key"}}', 401))
    assert (found.answered, found.usage) == (False, None)
    assert found.said == "credential_dead: HTTP 401 : wrong key"

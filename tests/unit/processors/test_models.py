from decimal import Decimal
from pathlib import Path

import pytest

from processors.models import Capability, load_models, read_models
from processors.problems import ModelsError

ONE = """
[providers.local]
base_url = "{url}"

[models.m]
provider = "local"
id = "m-1"
tier = "A"
"""


def _one(url="http://127.0.0.1:1/v1", environ=None, overrides=None, more=""):
    return read_models("models.toml", ONE.replace("{url}", url) + more, overrides or {}, environ or {})


def test_the_projects_own_models_load():
    """The repository's models.toml is in order, prices are exact decimals, capabilities are known."""
    models = load_models(Path(__file__).parents[3] / "models.toml", environ={})
    small = models.models["local-small"]
    assert small.prices.input_usd == Decimal("0.10")
    assert small.capabilities == {Capability.JSON_SCHEMA, Capability.LOGPROBS}
    assert models.providers["local"].base_url == "http://127.0.0.1:18080/v1"


def test_a_base_url_takes_variables_and_their_defaults():
    """`${NAME:-default}` is filled in from the environment, or by its default."""
    url = "${HOST:-http://127.0.0.1:9}/v1/"
    assert _one(url).providers["local"].base_url == "http://127.0.0.1:9/v1"
    assert _one(url, {"HOST": "https://there"}).providers["local"].base_url == "https://there/v1"


def test_an_override_wins_over_the_file():
    """A base URL given when loading replaces the file's."""
    assert _one(overrides={"local": "http://127.0.0.1:5/v1"}).providers["local"].base_url == "http://127.0.0.1:5/v1"


@pytest.mark.parametrize(
    ("text", "line", "field", "mend"),
    [
        (ONE.replace("{url}", "${NOWHERE}/v1"), 3, "providers.local.base_url", "set it"),
        (ONE.replace("{url}", "127.0.0.1/v1"), 3, "providers.local.base_url", "http://"),
        (ONE.replace('provider = "local"', 'provider = "locl"'), 6, "models.m.provider", "did you mean local?"),
        (ONE.replace("tier =", "teir ="), 8, "models.m.teir", "did you mean tier?"),
        (ONE + 'prices = { input = "1" }', 9, "models.m.prices.input", "did you mean input_usd?"),
        (ONE + "[models.n\n", 9, "", "mend the syntax"),
        (ONE.replace('tier = "A"', 'tier = "Z"'), 8, "models.m.tier", "'A', 'B' or 'C'"),
    ],
)
def test_what_is_wrong_is_named_with_line_field_and_mend(text, line, field, mend):
    """A wrong file says where it is wrong and how to mend it."""
    with pytest.raises(ModelsError) as caught:
        read_models("models.toml", text.replace("{url}", "http://x/v1"), {}, {})
    problem = next(problem for problem in caught.value.problems if problem.field == field)
    assert problem.line == line
    assert mend in problem.mend
    assert str(problem) in str(caught.value)


def test_an_override_of_an_unknown_provider_is_refused():
    """A name that overrides nothing is a mistake, not a silence."""
    with pytest.raises(ModelsError, match="did you mean local"):
        _one(overrides={"locla": "http://x/v1"})


def test_a_missing_file_is_a_problem(tmp_path):
    """A project without models.toml is told to add one."""
    with pytest.raises(ModelsError, match=r"needs a models\.toml"):
        load_models(tmp_path / "models.toml")

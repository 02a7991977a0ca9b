import pytest

from processors.lint import lint_bundle
from processors.tools.definitions import Tool, read_tools
from schemas.control import Bundle

ORDERS = """
description = "The state of an order, by its number."
url = "http://127.0.0.1:9/orders"
idempotent = true

[input]
type = "object"
required = ["order"]
additionalProperties = false

[input.properties.order]
type = "string"
pattern = "^[A-Z]{2}[0-9]{4}$"

[input.properties.region]
type = "string"

[output]
type = "object"
required = ["state"]

[output.properties.state]
type = "string"

[allow]
region = ["eu", "us"]
"""


def tool(text=ORDERS, name="orders"):
    tools, problems = read_tools({f"tools/{name}.toml": text})
    assert not problems, problems
    return tools[name]


@pytest.mark.parametrize(
    ("arguments", "objection"),
    [
        ({"order": "AB1234"}, None),
        ({"order": "AB1234", "region": "eu"}, None),
        ({"order": "AB1234", "region": "cn"}, 'region = "cn" is not on its allow-list'),
        ({"order": "1234"}, "do not fit"),
        ({}, "do not fit"),
        ([], "no JSON object"),
        ("AB1234", "no JSON object"),
    ],
)
def test_only_what_fits_and_is_allowed_may_be_asked(arguments, objection):
    """Arguments are checked against the schema and the allow-lists before anything is called."""
    found = tool().objection(arguments)
    assert found is None if objection is None else objection in found


@pytest.mark.parametrize(
    ("was", "becomes", "field", "said"),
    [
        ('url = "http://127.0.0.1:9/orders"', 'url = "${OPENAI_API_KEY}"', "url", "it reads OPENAI_API_KEY"),
        ('url = "http://127.0.0.1:9/orders"', 'url = "ftp://x"', "url", "found 'ftp://x'"),
        ("idempotent = true", 'key_env = "OPENAI_API_KEY"', "key_env", "found 'OPENAI_API_KEY'"),
        ("idempotent = true", "timeout_s = 0", "timeout_s", "found '0'"),
        ("idempotent = true", "idempotnet = true", "idempotnet", "no such key"),
        ('[input]\ntype = "object"', '[input]\ntype = "array"', "input.type", "its arguments are no object"),
        ('region = ["eu", "us"]', 'planet = ["mars"]', "allow.planet", "it is no property of [input]"),
        ('region = ["eu", "us"]', "region = []", "allow.region", "found '[]'"),
        ('type = "string"\npattern', 'type = "strnig"\npattern', "input", "this is no JSON Schema"),
    ],
)
def test_a_wrong_definition_names_file_line_and_mend(was, becomes, field, said):
    """What is wrong in a tool's file is a problem at its line, with what to do."""
    assert was in ORDERS
    text = ORDERS.replace(was, becomes)
    tools, problems = read_tools({"tools/orders.toml": text})
    assert not tools
    problem = problems[0]
    assert (problem.file, problem.field) == ("tools/orders.toml", field)
    assert said in problem.found
    assert problem.mend
    assert problem.line


def test_a_tool_can_not_take_the_answers_name():
    """The answer itself is given as a tool where a provider enforces no schema."""
    _, (problem,) = read_tools({"tools/answer.toml": ORDERS})
    assert "can't be called 'answer'" in problem.found


def test_an_address_may_come_from_the_environment():
    """Only variables meant for tools are filled in; a default stands in for one that is missing."""
    made = tool(ORDERS.replace("http://127.0.0.1:9/orders", "${TOOL_ORDERS_URL:-http://here}/orders"))
    assert made.url({}) == "http://here/orders"
    assert made.url({"TOOL_ORDERS_URL": "https://there"}) == "https://there/orders"


def problems_of(files, models, settings, **more):
    bundle = Bundle(workflow="sorting", files=files | {"workflow.toml": settings} | more)
    return {(one.file, one.field): one.found for one in lint_bundle(bundle, models)}


def test_lint_knows_what_rungs_offer(files, models):
    """A tool that is not there and a model that can call none are errors; one that nobody offers is a warning."""
    settings = files["workflow.toml"].replace('model = "tiny"', 'model = "tiny"\ntools = ["ordres"]')
    found = problems_of(files, models, settings, **{"tools/orders.toml": ORDERS})
    assert found["workflow.toml", "ladder.0.tools"] == "there is no tools/ordres.toml"
    found = problems_of(files, models, settings.replace("ordres", "orders"), **{"tools/orders.toml": ORDERS})
    assert found["workflow.toml", "ladder.0.tools"] == "tiny has no capability tools in models.toml"
    found = problems_of(files, models, files["workflow.toml"], **{"tools/orders.toml": ORDERS})
    assert found["tools/orders.toml", ""] == "no rung offers it to its model"


def test_lint_warns_of_tools_that_could_take_all_the_time(files, models):
    """Calls, tries and time-outs that can't fit into a conversation are named with the mend."""
    settings = files["workflow.toml"].replace('model = "tiny"', 'model = "tiny"\ntools = ["orders"]')
    slow = "timeout_s = 20\n" + ORDERS
    found = problems_of(files, models, settings, **{"tools/orders.toml": slow})
    assert found["workflow.toml", "ladder.0.tools"].endswith("can take 480 s; at 300 s the model must answer")
    assert (
        "can take"
        not in problems_of(files, models, settings, **{"tools/orders.toml": ORDERS})["workflow.toml", "ladder.0.tools"]
    )


def test_a_tool_is_part_of_what_a_calibration_was_fitted_for(desk, files):
    """Changing a tool that a rung offers voids its calibration; rungs without tools keep theirs."""
    settings = files["workflow.toml"].replace('model = "tiny"', 'model = "tiny"\ntools = ["orders"]')
    before = desk.with_files(**{"workflow.toml": settings, "tools/orders.toml": ORDERS}).variant_hashes
    after = desk.with_files(**{"workflow.toml": settings, "tools/orders.toml": ORDERS + "\n# x"}).variant_hashes
    assert before["small"] != after["small"]
    assert before["mid"] == after["mid"] == desk.with_files().variant_hashes["mid"]
    assert isinstance(desk.with_files(**{"tools/orders.toml": ORDERS}).tools["orders"], Tool)

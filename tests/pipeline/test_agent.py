"""A workflow with a tool on real parts: the model server in each dialect, a tool over HTTP, all five processors."""

import json

import pytest
from aiohttp import web

from penstock.trial import Trials, in_force
from processors.catalog import Catalog
from processors.models import read_models
from processors.providers.http import connect
from processors.providers.tools_http import HttpTools
from schemas.control import Bundle

pytestmark = pytest.mark.stack

MODELS = """
[providers.openai_chat]
base_url = "{url}/v1"
[providers.openai_responses]
base_url = "{url}/v1"
dialect = "openai_responses"
[providers.anthropic]
base_url = "{url}/v1"
dialect = "anthropic"
[models.native]
provider = "{dialect}"
id = "local-mid"
tier = "B"
prices = {{ input_usd = 1, output_usd = 2 }}
capabilities = ["json_schema", "tools"]
[models.by_tool]
provider = "{dialect}"
id = "local-mid"
tier = "B"
prices = {{ input_usd = 1, output_usd = 2 }}
capabilities = ["tools"]
"""
FILES = {
    "workflow.toml": 'task = "qa"\nowner = "shop"\n[[ladder]]\nvariant = "one"\ntier = "B"\nmodel = "{model}"\n'
    'tools = ["order_state"]\n',
    "prompts/one/system.md": "Say where the order of the customer is.",
    "prompts/one/user.md": "{{ input.text }}",
    "input.schema.json": '{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}',
    "output.schema.json": '{"type":"object","properties":{"state":{"type":"string"},"carrier":{"type":"string"}},'
    '"required":["state","carrier"],"additionalProperties":false}',
    "tools/order_state.toml": """
description = "The state of an order, by its number."
url = "${TOOL_ORDERS_URL}/orders"
idempotent = true
key_env = "TOOL_ORDERS_KEY"
[input]
type = "object"
required = ["order_number"]
[input.properties.order_number]
type = "string"
[output]
type = "object"
required = ["state", "carrier"]
""",
}
ASKED = {"workflow": "orders", "job_id": "j1", "input": {"text": "Where is my order AB1234?"}}


class Orders:
    """A shop's service: it knows one order, and who may ask."""

    def __init__(self):
        self.asked = []
        self.down = False

    async def handle(self, request):
        if request.headers.get("Authorization") != "Bearer s3cret":
            return web.Response(status=401)
        if self.down:
            return web.Response(status=503)
        self.asked.append(await request.json())
        return web.json_response({"state": "in transit", "carrier": "Pelican Post"})


@pytest.fixture
async def orders():
    """The shop's service, running."""
    made = Orders()
    app = web.Application()
    app.router.add_post("/orders", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def trial(stack, orders):
    """Give a function that runs the job with a model of a dialect."""
    opened = []

    async def run(dialect, model):
        models = read_models("models.toml", MODELS.format(url=stack.model_server_url, dialect=dialect), {}, {})
        bundle = Bundle(
            workflow="orders", files=FILES | {"workflow.toml": FILES["workflow.toml"].replace("{model}", model)}
        )
        catalog, providers = Catalog(models), connect(models, {})
        catalog.add(bundle)
        tools = HttpTools(environ={"TOOL_ORDERS_URL": orders.url, "TOOL_ORDERS_KEY": "s3cret"})
        opened.extend((tools, *providers.values()))
        workflow = catalog.workflow("orders", bundle.version)
        return await Trials(catalog, providers, in_force(workflow), tools=tools).run(ASKED)

    yield run
    for one in opened:
        await one.aclose()


@pytest.mark.parametrize("model", ["native", "by_tool"])
@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses", "anthropic"])
async def test_the_answer_holds_what_the_tool_said(trial, orders, dialect, model):
    """The model asks for the order, the shop is called with its key, and the answer carries what it said."""
    found = await trial(dialect, model)
    assert json.loads(found.proposed) == {"state": "in transit", "carrier": "Pelican Post"}, found.reason
    assert orders.asked == [{"order_number": "AB1234"}]
    assert len(found.attempts) == 2
    assert found.cost_usd > 0
    assert "tools" not in found.reason


async def test_an_answer_without_the_tools_data_is_not_let_through(trial, orders):
    """With the shop down the model still writes something; it goes to a person as what it is."""
    orders.down = True
    found = await trial("openai_chat", "native")
    assert found.status == "escalated"
    assert "check tools: unknown: order_state: HTTP 503" in found.reason
    assert "Bearer" not in str(found.steps)
    assert "s3cret" not in str(found.steps)

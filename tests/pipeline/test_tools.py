"""Tools end to end: from a model's wish over the flow to a result or a person, and what the trace says of it."""

import json

import pytest

from processors.providers.scripted import answer
from processors.tools.port import ToolAnswer
from schemas.control import SwitchKind
from tests.unit.processors.test_tool_definitions import ORDERS
from tests.unit.processors.test_tools import ASKS, Caller

SHIPPED = ToolAnswer(200, b'{"state": "shipped"}')


@pytest.fixture
def tooled(line):
    """Give a function that releases a version whose rungs have a tool, which answers so."""

    def release(*answers, top="", end=""):
        line.tools = Caller(*answers)
        files = dict(line.bundle.files)
        settings = files["workflow.toml"]
        for model in ("tiny", "grand"):
            settings = settings.replace(f'model = "{model}"', f'model = "{model}"\ntools = ["orders"]')
        line.release(files | {"workflow.toml": top + settings + end, "tools/orders.toml": ORDERS})

    return release


def looks_up(request):
    """A model that looks up the order first, and then answers, sure of itself."""
    if not any(turn.role == "tool" for turn in request.messages):
        return ASKS
    return answer('{"intent":"lost"}', model=request.model.id, probability=0.99)


async def test_a_tools_call_is_in_the_trace(line, tooled):
    """One row for each call of a tool, joined with the attempt that asked, with arguments and answer as texts."""
    tooled(SHIPPED)
    line.script = looks_up
    line.submit("j1")
    await line.until(lambda: line.rows("tool_calls", "j1"))
    (row,) = line.rows("tool_calls", "j1")
    assert (row["gen_ai_tool_name"], row["status"], row["tries"]) == ("orders", "ok", 1)
    assert row["attempt_id"] in {attempt["attempt_id"] for attempt in line.rows("attempts", "j1")}
    texts = {one["sha256"]: one["text"] for one in line.stored().rows("payloads")}
    assert json.loads(texts[row["arguments_sha256"]]) == {"order": "AB1234"}
    assert json.loads(texts[row["response_sha256"]]) == {"state": "shipped"}


async def test_an_answer_that_lacks_a_tools_data_goes_to_a_person(line, tooled):
    """However sure the model is: every rung lacks it, and the escalation says what could not be found out."""
    tooled(ToolAnswer(404, error="HTTP 404"))
    line.script = looks_up
    line.submit("j1")
    await line.until(lambda: line.values("escalations"))
    (escalation,) = line.values("escalations")
    assert "check tools: unknown: orders: HTTP 404" in escalation["reason"]
    assert line.results() == {}
    assert {row["verdict"] for row in line.rows("checks", "j1") if row["check_name"] == "tools"} == {"unknown"}


async def test_an_owner_may_do_without(line, tooled):
    """Named in accept_unverified and failing open, such an answer is accepted, and marked for what it is."""
    end = '\n[failure]\naccept_unverified = ["tools"]\n\n[fallback]\noutput = { intent = "found" }\n'
    tooled(ToolAnswer(404, error="HTTP 404"), top='failure_mode = "open"\n', end=end)
    line.script = looks_up
    line.submit("j1")
    assert (await line.result("j1"))["status"] == "accepted_unverified"


async def test_a_killed_tool_is_called_by_nobody(line, tooled):
    """From the switch on no job reaches it; each is told, and none takes the lack for an answer."""
    tooled(SHIPPED)
    line.script = looks_up
    line.kill(SwitchKind.TOOL, "orders")
    line.submit("j1")
    await line.until(lambda: line.values("escalations"))
    assert line.tools.asked == []
    line.unkill(SwitchKind.TOOL, "orders")
    line.submit("j2")
    await line.until(lambda: len(line.tools.asked) == 1)


async def test_a_worker_that_dies_in_between_asks_the_tool_under_the_same_key(line, tooled):
    """What the next owner of a job asks for again, the tool can tell for a repetition."""
    tooled(SHIPPED)
    line.script = looks_up
    line.submit("j1")
    await line.until(lambda: line.tools.asked)
    await line.kill_worker()
    line.start()
    await line.until(lambda: line.results() or line.values("escalations"))
    assert len({key for _, _, key, _ in line.tools.asked}) == 1

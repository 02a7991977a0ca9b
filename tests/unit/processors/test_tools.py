"""Agent steps: what the model is told of its tools, what is on record, and what an answer is worth that lacks some."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from processors.outcome import Climb, Escalate, Pass, Retry
from processors.providers.scripted import Canned, answer
from processors.tools.port import ToolAnswer
from processors.validation import Validation
from schemas.control import SwitchKind
from schemas.stages import Verdict
from tests.unit.processors.test_tool_definitions import ORDERS

SHIPPED = ToolAnswer(200, b'{"state": "shipped"}')


def wishes(*calls, text=""):
    """A response in which the model asks for tools: pairs of name and arguments."""
    made = [
        {"id": f"c{n}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for n, (name, arguments) in enumerate(calls, 1)
    ]
    message = {"role": "assistant", "content": text or None, "tool_calls": made}
    return answer("", message=message, finish_reason="tool_calls", logprobs=None)


ASKS = wishes(("orders", {"order": "AB1234"}))
DONE = answer('{"intent":"a"}')


class Caller:
    """Tools that answer from a list, the last of it again and again; keeps what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def call(self, tool, arguments, key, timeout_s):
        self.asked.append((tool.name, arguments, key, timeout_s))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def agent(desk, inference, files):
    """Give a function that makes an inference whose first rung has tools, and its caller."""

    def make(caller, *answers, limits="", definition=ORDERS, chance=1.0):
        settings = files["workflow.toml"].replace('model = "tiny"', 'model = "tiny"\ntools = ["orders"]')
        desk.with_files(**{"workflow.toml": settings + limits, "tools/orders.toml": definition})
        return inference(*answers, chance=chance, tools=caller)

    return make


def told(request):
    """What the model is told by its tools, as JSON values."""
    return [json.loads(turn.content) for turn in request.messages if turn.role == "tool"]


async def test_what_a_tool_says_is_read_by_the_model_and_on_record(agent, routed):
    """The answer of a tool goes back under its call's id; call, attempt and payload are in the facts."""
    caller = Caller(SHIPPED)
    run = agent(caller, ASKS, DONE)
    outcome = await run.run(routed())
    assert isinstance(outcome, Pass)
    assert outcome.product.completion.degraded == ()
    first, second = run.provider.requests
    assert [tool.name for tool in first.tools] == ["orders"]
    assert [turn.role for turn in second.messages[-2:]] == ["assistant", "tool"]
    assert (second.messages[-1].answers, told(second)) == ("c1", [{"data": {"state": "shipped"}}])
    (use,) = outcome.facts.tool_uses
    assert (use.tool, use.status, use.tries, use.http_status) == ("orders", "ok", 1, 200)
    assert (use.attempt_id, json.loads(use.arguments)) == ("acme/job-1/0/0/1", {"order": "AB1234"})
    assert [attempt.n for attempt in outcome.facts.attempts] == [1, 2]
    assert outcome.product.completion.attempt_id == "acme/job-1/0/0/2"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (wishes(("orders", {"order": "nonsense"})), "its arguments do not fit"),
        (wishes(("orders", {"order": "AB1234", "region": "cn"})), "is not on its allow-list"),
        (wishes(("delete_all", {})), "there is no such tool; there is orders"),
    ],
)
async def test_what_may_not_be_asked_is_refused_without_a_call(agent, routed, asked, said):
    """Arguments from a model are a stranger's: what does not fit never leaves the process."""
    caller = Caller(SHIPPED)
    run = agent(caller, asked, DONE)
    outcome = await run.run(routed())
    assert caller.asked == []
    (use,) = outcome.facts.tool_uses
    assert (use.status, use.tries) == ("refused", 0)
    assert said in use.error
    assert said in told(run.provider.requests[1])[0]["unknown"]
    assert outcome.product.completion.degraded == (f"{use.tool}: {use.error}",)


async def test_a_killed_tool_is_refused(agent, routed, desk):
    """The switch holds for the next call; the model is told that it does not know."""
    caller = Caller(SHIPPED)
    run = agent(caller, ASKS, DONE)
    desk.control = replace(desk.control, kills=frozenset({(SwitchKind.TOOL, "orders")}))
    outcome = await run.run(routed())
    assert caller.asked == []
    assert outcome.product.completion.degraded == ("orders: it is killed",)


@pytest.mark.parametrize(
    ("came", "said"),
    [
        (ToolAnswer(200, b"<html>"), "its answer is no JSON"),
        (ToolAnswer(200, b'{"sate": 1}'), "its answer does not fit"),
        (ToolAnswer(404, b"{}", error="HTTP 404"), "HTTP 404"),
        (ToolAnswer(error="no answer within 5 s", again=True), "no answer within 5 s"),
    ],
)
async def test_what_a_tool_can_not_tell_is_unknown_to_the_model(agent, routed, came, said):
    """Only data that fits the tool's schema is data; everything else is labelled unknown, and the answer degraded."""
    run = agent(Caller(came), ASKS, DONE)
    outcome = await run.run(routed())
    assert said in told(run.provider.requests[1])[0]["unknown"]
    assert "data" not in told(run.provider.requests[1])[0]
    (use,) = outcome.facts.tool_uses
    assert use.status == "failed"
    assert said in outcome.product.completion.degraded[0]


@pytest.mark.parametrize(
    ("idempotent", "arrived", "tries"),
    [(True, True, 3), (True, False, 3), (False, False, 3), (False, True, 1)],
)
async def test_a_call_is_repeated_only_where_that_does_no_harm(agent, routed, idempotent, arrived, tries):
    """What may have arrived at a tool with effects is not sent again; what was not sent may be."""
    definition = ORDERS if idempotent else ORDERS.replace("idempotent = true\n", "")
    caller = Caller(ToolAnswer(503, error="HTTP 503", arrived=arrived, again=True))
    outcome = await agent(caller, ASKS, DONE, definition=definition).run(routed())
    assert len(caller.asked) == tries == outcome.facts.tool_uses[0].tries
    assert len({key for _, _, key, _ in caller.asked}) == 1


async def test_a_tool_that_recovers_is_no_loss(agent, routed):
    """A hiccup costs a wait, as long as the tool asks for, and degrades nothing."""
    run = agent(Caller(ToolAnswer(503, error="HTTP 503", again=True, retry_after_s=2.0), SHIPPED), ASKS, DONE)
    outcome = await run.run(routed())
    assert outcome.product.completion.degraded == ()
    assert run.waits == [2.0]


async def test_a_tool_that_asks_for_too_long_a_wait_is_not_waited_for(agent, routed):
    """A minute for a tool is not worth a job's place: its data is unknown."""
    caller = Caller(ToolAnswer(429, error="HTTP 429", again=True, retry_after_s=60.0))
    outcome = await agent(caller, ASKS, DONE).run(routed())
    assert len(caller.asked) == 1
    assert outcome.product.completion.degraded == ("orders: HTTP 429",)


async def test_the_same_wish_of_a_job_has_the_same_key_wherever_it_comes_from(agent, routed):
    """A worker that takes over after a crash, another round or rung: the tool can tell it for a repetition."""
    twice = wishes(("orders", {"order": "AB1234"}), ("orders", {"order": "AB1234"}), ("orders", {"order": "CD5678"}))
    seen = []
    for changes in ({}, {"round": 3}, {"job_id": "job-2"}):
        caller = Caller(SHIPPED)
        await agent(caller, twice, DONE).run(routed(**changes))
        seen.append([key for _, _, key, _ in caller.asked])
    assert seen[0] == seen[1]
    assert len({*seen[0], *seen[2]}) == 6


async def test_after_so_many_steps_the_model_must_answer(agent, routed):
    """The cap ends in an answer from what is known, not in another step."""
    run = agent(Caller(SHIPPED), ASKS, ASKS, DONE, limits="\n[agent]\nmax_steps = 2\n")
    outcome = await run.run(routed())
    assert isinstance(outcome, Pass)
    assert [request.must_answer for request in run.provider.requests] == [False, False, True]


async def test_calls_beyond_the_cap_are_refused_and_known_to_lack(agent, routed):
    """A model that asks for more than a job may have gets the rest as unknown."""
    many = wishes(*[("orders", {"order": f"AB123{n}"}) for n in range(4)])
    caller = Caller(SHIPPED)
    outcome = await agent(caller, many, DONE, limits="\n[agent]\nmax_calls = 3\n").run(routed())
    assert len(caller.asked) == 3
    assert outcome.product.completion.degraded == ("orders: a job may call tools 3 times",)


async def test_a_model_that_will_not_answer_is_left(agent, routed):
    """Tools asked for where none may be called are no answer: the job goes on without this model, for now."""
    outcome = await agent(Caller(SHIPPED), ASKS, ASKS, limits="\n[agent]\nmax_steps = 1\n").run(routed())
    assert isinstance(outcome, Retry)
    assert "asked for a tool where it may call none" in outcome.reason
    assert len(outcome.facts.tool_uses) == 1


async def test_a_step_that_fails_is_retried_without_calling_its_tools_again(agent, routed):
    """What the tools said stays in the conversation while the model is asked again."""
    caller = Caller(SHIPPED)
    run = agent(caller, ASKS, Canned(b"{}", status=500), DONE)
    outcome = await run.run(routed())
    assert isinstance(outcome, Pass)
    assert len(caller.asked) == 1
    assert told(run.provider.requests[-1]) == [{"data": {"state": "shipped"}}]


async def test_a_job_without_tools_that_is_asked_for_one_has_no_answer(inference, routed):
    """A model that makes up a tool where none was offered has answered nothing."""
    outcome = await inference(ASKS).run(routed())
    assert isinstance(outcome, Retry)


async def test_a_degraded_answer_is_never_taken_for_whole(agent, routed, desk, enveloped):
    """Validation finds the check `tools` unknown: the answer climbs, at the top a person gets it."""
    outcome = await agent(Caller(ToolAnswer(404, error="HTTP 404")), ASKS, DONE).run(routed())
    validation = Validation(desk.catalog, desk.read_control)
    climbed = await validation(enveloped(outcome.product))
    assert isinstance(climbed, Climb)
    ended = await validation(enveloped(outcome.product, rung=2))
    assert isinstance(ended, Escalate)
    assert ended.doubted == {"tools"}
    finding = next(one for one in ended.facts.findings if one.check == "tools")
    assert (finding.verdict, finding.evidence) == (Verdict.UNKNOWN, "orders: HTTP 404")


async def test_the_deadline_bounds_what_a_tool_may_take(agent, routed, clock):
    """A tool is given no longer than the job has left."""
    caller = Caller(SHIPPED)
    run = agent(caller, ASKS, DONE)
    envelope = routed()
    clock.now = envelope.head.deadline - timedelta(seconds=2)
    assert isinstance(await run.run(envelope), Pass)
    assert caller.asked[0][3] == pytest.approx(2.0)

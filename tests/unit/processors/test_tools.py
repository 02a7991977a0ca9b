"""Agent steps: what the model is told of its tools, what is on record, and what an answer is worth that lacks some."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from processors.models import Capability
from processors.outcome import Climb, Escalate, Pass, Reject, Retry
from processors.providers.scripted import Canned, answer
from processors.tools.port import ToolAnswer
from processors.validation import Validation
from schemas.control import SwitchKind
from schemas.stages import Status, Verdict
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
ASKS_MORE = wishes(("orders", {"order": "CD5678"}))
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


def models_with(models, **changes):
    """The models, the first one changed."""
    tiny = models.models["tiny"].model_copy(update=changes)
    return models.model_copy(update={"models": {**models.models, "tiny": tiny}})


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
    both = wishes(("orders", {"order": "AB1234"}), ("orders", {"order": "CD5678"}))
    seen = []
    for changes in ({}, {"round": 3}, {"job_id": "job-2"}):
        caller = Caller(SHIPPED)
        await agent(caller, both, DONE).run(routed(**changes))
        seen.append([key for _, _, key, _ in caller.asked])
    assert seen[0] == seen[1]
    assert len({*seen[0], *seen[2]}) == 4


async def test_a_model_that_asks_the_same_again_must_answer(agent, routed):
    """Going round in circles costs neither calls nor effects: it gets the first answer again, and no further step."""
    caller = Caller(SHIPPED)
    run = agent(caller, ASKS, ASKS, DONE)
    outcome = await run.run(routed())
    assert isinstance(outcome, Pass)
    assert len(caller.asked) == 1
    assert [use.tries for use in outcome.facts.tool_uses] == [1, 0]
    assert [request.must_answer for request in run.provider.requests] == [False, False, True]
    assert told(run.provider.requests[-1]) == [{"data": {"state": "shipped"}}] * 2


async def test_a_switch_thrown_between_two_tries_stops_them(agent, routed, desk):
    """No call starts after the switch, whichever try it would have been, nor any other call of the same turn."""

    class Switching(Caller):
        async def call(self, *asked):
            desk.control = replace(desk.control, kills=frozenset({(SwitchKind.TOOL, "orders")}))
            return await super().call(*asked)

    caller = Switching(ToolAnswer(503, error="HTTP 503", again=True))
    many = wishes(*[("orders", {"order": f"AB123{n}"}) for n in range(3)])
    outcome = await agent(caller, many, DONE).run(routed())
    assert len(caller.asked) == 1
    assert [use.error for use in outcome.facts.tool_uses] == ["it is killed"] * 3


async def test_nothing_is_called_after_the_deadline(agent, routed, clock):
    """Of several calls those whose time has not come before the deadline are refused, and the job expires."""

    class Slow(Caller):
        async def call(self, *asked):
            clock.move(3_000)
            return await super().call(*asked)

    caller = Slow(SHIPPED)
    many = wishes(*[("orders", {"order": f"AB123{n}"}) for n in range(4)])
    outcome = await agent(caller, many, DONE).run(routed())
    assert [timeout_s > 0 for _, _, _, timeout_s in caller.asked] == [True, True]
    assert outcome.status is Status.EXPIRED
    assert [use.status for use in outcome.facts.tool_uses] == ["ok", "ok", "refused", "refused"]


async def test_a_conversation_that_takes_too_long_ends_in_an_answer(agent, routed):
    """Before the stage would call it stuck, and lose what it cost, the model is made to answer."""
    passed_s = 0.0

    class Slow(Caller):
        async def call(self, *asked):
            nonlocal passed_s
            passed_s += 400.0
            return await super().call(*asked)

    caller = Slow(SHIPPED)
    both = wishes(("orders", {"order": "AB1234"}), ("orders", {"order": "CD5678"}))
    run = agent(caller, both, DONE)
    outcome = await replace(run.run, timer=lambda: passed_s)(routed())
    assert isinstance(outcome, Pass)
    assert len(caller.asked) == 1
    assert outcome.product.completion.degraded == ("orders: tools have taken 300 s",)
    assert run.provider.requests[-1].must_answer


async def test_a_job_with_a_limit_of_cost_ends_before_a_step_could_break_it(agent, routed, a_job):
    """What tools say makes requests dear: each step is weighed, and the end says what was spent."""
    large = ToolAnswer(200, json.dumps({"state": "x" * 60_000}).encode())
    run = agent(Caller(large), ASKS, DONE)
    outcome = await run.run(routed(job=a_job(max_cost_usd="0.002")))
    assert isinstance(outcome, Reject)
    assert outcome.status is Status.OVER_BUDGET
    assert len(run.provider.requests) == 1
    assert len(outcome.facts.attempts) == len(outcome.facts.tool_uses) == 1
    assert isinstance(await run.run(routed(job=a_job(max_cost_usd="5"))), Pass)


async def test_wishes_beside_an_answer_come_first(agent, routed, desk):
    """Where the answer is a tool too, a model may call both at once: what it wrote before it knew does not count."""
    desk.catalog.models = models_with(desk.models, capabilities=frozenset({Capability.TOOLS}))
    both = wishes(("orders", {"order": "AB1234"}), ("answer", {"intent": "b"}))
    run = agent(Caller(SHIPPED), both, wishes(("answer", {"intent": "a"})))
    outcome = await run.run(routed())
    assert outcome.product.completion.text == '{"intent": "a"}'
    assert [use.status for use in outcome.facts.tool_uses] == ["ok"]


async def test_what_is_asked_for_beside_a_last_answer_is_lacking(agent, routed):
    """A server that lets a model ask where it must answer: the answer is degraded by what it asked for."""
    also = wishes(("orders", {"order": "CD5678"}), text='{"intent":"a"}')
    outcome = await agent(Caller(SHIPPED), ASKS, also, limits="\n[agent]\nmax_steps = 1\n").run(routed())
    assert isinstance(outcome, Pass)
    assert outcome.product.completion.degraded == ("orders: it was asked for where an answer was due",)


async def test_calls_without_an_id_get_one(agent, routed):
    """Answers are told apart by ids: a missing or repeated one is replaced."""
    asked = wishes(("orders", {"order": "AB1234"}), ("orders", {"order": "CD5678"}), ("orders", {"order": "EF9012"}))
    body = json.loads(asked.body)
    for call, given in zip(body["choices"][0]["message"]["tool_calls"], ("", "same", "same"), strict=True):
        call["id"] = given
    run = agent(Caller(SHIPPED), replace(asked, body=json.dumps(body).encode()), DONE)
    outcome = await run.run(routed())
    ids = [use.call_id for use in outcome.facts.tool_uses]
    assert ids == ["call_1", "same", "call_3"]
    assert [turn.answers for turn in run.provider.requests[1].messages if turn.role == "tool"] == ids


async def test_thousands_of_wishes_are_cut(agent, routed):
    """A model that has gone mad fills neither the trace nor the next request."""
    many = wishes(*[("orders", {"order": f"AB{n:04}"}) for n in range(5_000)])
    run = agent(Caller(SHIPPED), many, DONE)
    outcome = await run.run(routed())
    assert len(outcome.facts.tool_uses) == 9
    assert len(run.provider.requests[1].messages[-10].tool_calls) == 9


DEEP = "[" * 300 + "]" * 300


@pytest.mark.parametrize(
    "written", [DEEP, '{"order": ' + DEEP + "}", '{"order": 1e999}', '{"order": NaN}', '"\\ud800"', "{"]
)
async def test_absurd_arguments_are_refused(agent, routed, written):
    """Whatever a model writes is a value of this job, never an exception that ends it."""
    asked = wishes(("orders", {}))
    body = json.loads(asked.body)
    body["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] = written
    caller = Caller(SHIPPED)
    outcome = await agent(caller, replace(asked, body=json.dumps(body).encode()), DONE).run(routed())
    assert caller.asked == []
    assert outcome.facts.tool_uses[0].status == "refused"


@pytest.mark.parametrize("said", [DEEP, '{"state": ' + DEEP + "}", '{"state": NaN}', '{"state":"a","state":"b"}', ""])
async def test_absurd_answers_of_tools_are_unknown(agent, routed, said):
    """Whatever a tool sends is read strictly; what can't be read is unknown."""
    outcome = await agent(Caller(ToolAnswer(200, said.encode())), ASKS, DONE).run(routed())
    assert outcome.facts.tool_uses[0].status == "failed"
    assert outcome.product.completion.degraded


async def test_after_so_many_steps_the_model_must_answer(agent, routed):
    """The cap ends in an answer from what is known, not in another step."""
    run = agent(Caller(SHIPPED), ASKS, ASKS_MORE, DONE, limits="\n[agent]\nmax_steps = 2\n")
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
    assert [use.status for use in outcome.facts.tool_uses] == ["ok", "refused"]


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


RULES = """
[[rules]]
name = "never_a"
when = 'output.intent == "a"'
deny = "a is never right"
"""


async def test_rules_are_asked_although_a_tool_is_unknown(agent, routed, desk, enveloped, files):
    """An owner who does without a tool's data does not do without the business rules."""
    outcome = await agent(Caller(ToolAnswer(404, error="HTTP 404")), ASKS, DONE).run(routed())
    end = '\nfailure_mode = "open"\n'
    tail = '\n[failure]\naccept_unverified = ["tools"]\n\n[fallback]\noutput = { intent = "b" }\n'
    desk.with_files(**{"workflow.toml": end + files["workflow.toml"] + tail, "rules.toml": RULES})
    ended = await Validation(desk.catalog, desk.read_control)(enveloped(outcome.product, rung=2))
    assert isinstance(ended, Escalate)
    verdicts = {one.check: one.verdict for one in ended.facts.findings}
    assert (verdicts["rules"], verdicts["tools"]) == (Verdict.DENY, Verdict.UNKNOWN)

"""Tools in each dialect: how they are offered, how a model's wish and a tool's answer go back."""

import json

import orjson
import pytest

from processors.models import Dialect, read_models
from processors.providers.answers import ToolCall
from processors.providers.asking import ASKING
from processors.providers.offering import structure_of
from processors.providers.port import ANSWER_TOOL, ChatMessage, CompletionRequest, OfferedTool, Structure

MODELS = """
[providers.p]
base_url = "http://127.0.0.1:1/v1"
[models.m]
provider = "p"
id = "m"
tier = "A"
capabilities = ["json_schema", "tools"]
[models.words]
provider = "p"
id = "w"
tier = "A"
"""
SCHEMA = orjson.Fragment(b'{"type":"object"}')
ORDERS = OfferedTool("orders", "The state of an order.", SCHEMA)
CALLS = (ToolCall("c1", "orders", '{"order":"A"}', "sig"), ToolCall("c2", "orders", '{"order":"B"}'))
TURNS = (
    ChatMessage("user", "Where are A and B?"),
    ChatMessage("assistant", "I look.", tool_calls=CALLS),
    ChatMessage("tool", '{"data":1}', answers="c1", name="orders"),
    ChatMessage("tool", '{"unknown":"x"}', answers="c2", name="orders"),
)

OFFERED = {
    Dialect.OPENAI_CHAT: lambda body: [one["function"]["name"] for one in body["tools"]],
    Dialect.MISTRAL: lambda body: [one["function"]["name"] for one in body["tools"]],
    Dialect.OPENAI_RESPONSES: lambda body: [one["name"] for one in body["tools"]],
    Dialect.ANTHROPIC: lambda body: [one["name"] for one in body["tools"]],
    Dialect.GEMINI: lambda body: [one["name"] for one in body["tools"][0]["functionDeclarations"]],
}
CHOSEN = {
    Dialect.OPENAI_CHAT: lambda body: body["tool_choice"],
    Dialect.MISTRAL: lambda body: body["tool_choice"],
    Dialect.OPENAI_RESPONSES: lambda body: body["tool_choice"],
    Dialect.ANTHROPIC: lambda body: body["tool_choice"]["type"],
    Dialect.GEMINI: lambda body: body["toolConfig"]["functionCallingConfig"]["mode"],
}


def encoded(dialect, **changes):
    """The body that a dialect sends."""
    model = read_models("models.toml", MODELS, {}, {}).models["m"]
    fields = {"attempt_id": "t/j/0/0/1", "model": model, "messages": TURNS, "max_tokens": 10, "tools": (ORDERS,)}
    request = CompletionRequest(**fields | {"total_timeout_s": 1, "left_s": 1} | changes)
    return json.loads(ASKING[dialect].encode(request))


@pytest.mark.parametrize("dialect", ASKING)
@pytest.mark.parametrize("structure", [Structure.NATIVE, Structure.TOOL, Structure.PROMPT])
def test_each_dialect_offers_the_tools(dialect, structure):
    """The workflow's, and the answer's where the answer is given as one."""
    body = encoded(dialect, structure=structure, output_schema=SCHEMA)
    assert OFFERED[dialect](body) == ["orders"] + [ANSWER_TOOL] * (structure is Structure.TOOL)


@pytest.mark.parametrize(
    ("dialect", "free", "wanted", "over"),
    [
        (Dialect.OPENAI_CHAT, "auto", "required", "none"),
        (Dialect.MISTRAL, "auto", "required", "none"),
        (Dialect.OPENAI_RESPONSES, "auto", "required", "none"),
        (Dialect.ANTHROPIC, "auto", "any", "none"),
        (Dialect.GEMINI, "AUTO", "ANY", "NONE"),
    ],
)
def test_a_model_is_as_free_as_it_may_be(dialect, free, wanted, over):
    """It calls or answers; it calls the answer or another; once it must answer it may call none but the answer."""
    chosen = CHOSEN[dialect]
    by_tool = {"structure": Structure.TOOL, "output_schema": SCHEMA}
    assert chosen(encoded(dialect)) == free
    assert chosen(encoded(dialect, must_answer=True)) == over
    assert chosen(encoded(dialect, **by_tool)) == wanted
    assert ANSWER_TOOL in json.dumps(encoded(dialect, **by_tool, must_answer=True))


def test_openais_chat_gets_calls_and_answers_by_id():
    """An assistant's turn with its calls, and a turn for each answer."""
    for dialect in (Dialect.OPENAI_CHAT, Dialect.MISTRAL):
        _, asked, first, second = encoded(dialect)["messages"]
        assert (asked["content"], [call["id"] for call in asked["tool_calls"]]) == ("I look.", ["c1", "c2"])
        assert asked["tool_calls"][0]["function"] == {"name": "orders", "arguments": '{"order":"A"}'}
        assert first == {"role": "tool", "tool_call_id": "c1", "content": '{"data":1}'}
        assert second["tool_call_id"] == "c2"


def test_openais_responses_get_them_as_items():
    """Text, calls and their outputs are items of one list."""
    items = encoded(Dialect.OPENAI_RESPONSES)["input"]
    kinds = [item.get("type", item.get("role")) for item in items]
    assert kinds == ["user", "assistant", "function_call", "function_call", *["function_call_output"] * 2]
    assert items[2] == {"type": "function_call", "call_id": "c1", "name": "orders", "arguments": '{"order":"A"}'}
    assert items[-1] == {"type": "function_call_output", "call_id": "c2", "output": '{"unknown":"x"}'}


def test_anthropic_gets_all_answers_in_one_turn():
    """Its turns alternate: what several tools said is one message of the user's."""
    _, asked, told = encoded(Dialect.ANTHROPIC)["messages"]
    assert [block["type"] for block in asked["content"]] == ["text", "tool_use", "tool_use"]
    assert asked["content"][1] == {"type": "tool_use", "id": "c1", "name": "orders", "input": {"order": "A"}}
    assert told["role"] == "user"
    assert [block["tool_use_id"] for block in told["content"]] == ["c1", "c2"]


def test_gemini_gets_its_signature_back():
    """What its model signed goes back with the call; an answer is an object under the tool's name."""
    _, asked, told = encoded(Dialect.GEMINI)["contents"]
    assert [list(part) for part in asked["parts"]] == [["text"], ["functionCall", "thoughtSignature"], ["functionCall"]]
    assert asked["parts"][1]["thoughtSignature"] == "sig"
    assert [part["functionResponse"]["id"] for part in told["parts"]] == ["c1", "c2"]
    assert told["parts"][0]["functionResponse"] == {"name": "orders", "response": {"data": 1}, "id": "c1"}


def test_what_holds_a_model_to_the_schema():
    """Its provider where it can, a tool where it can't or where tools exclude it, else words."""
    models = read_models("models.toml", MODELS, {}, {}).models
    assert structure_of(models["m"], Dialect.OPENAI_CHAT) is Structure.NATIVE
    assert structure_of(models["m"], Dialect.ANTHROPIC, with_tools=True) is Structure.NATIVE
    assert structure_of(models["m"], Dialect.GEMINI) is Structure.NATIVE
    assert structure_of(models["m"], Dialect.GEMINI, with_tools=True) is Structure.TOOL
    assert structure_of(models["words"], Dialect.OPENAI_CHAT) is Structure.PROMPT


@pytest.mark.parametrize("written", ["", "{", "[]", '"x"'])
def test_arguments_that_are_no_object_go_back_as_an_empty_one(written):
    """A model that writes nonsense gets a conversation that its provider accepts."""
    assert ToolCall("c", "t", written).object() == {}

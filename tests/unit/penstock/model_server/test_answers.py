"""How the local models fill what a request asks for."""

import json
import math
from random import Random

import jsonschema_rs
import pytest

from penstock.local import banking77
from penstock.local.model_server.chat import usage
from penstock.local.model_server.completions import complete
from penstock.local.model_server.tokens import count
from penstock.local.model_server.wire import ChatRequest, RequestRefusedError

pytestmark = pytest.mark.stack

LABELS = "Labels:\n" + banking77.described_labels()
ORDER = "Hello, I ordered 3 lamps on 4 May 2026 for $1,250.50. Order A-1234 never came. Write to jo@example.org."


@pytest.fixture
def ask(models):
    def complete_it(text, *, system="You extract data.", schema=None, drawn=0, **more):
        if schema is not None:
            more["response_format"] = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
        messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
        chat = ChatRequest.model_validate({"model": "local-large", "messages": messages, **more})
        return complete(models["local-large"], chat, call_id="c", now=1.0, random=Random(drawn))

    return complete_it


def fields(**properties):
    return {"type": "object", "properties": properties, "required": list(properties)}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string", "format": "date"}, "2026-05-04"),
        ({"type": "string", "format": "email"}, "jo@example.org"),
        ({"type": "number", "description": "total price"}, 1250.50),
        ({"type": "integer", "description": "how many lamps"}, 3),
        ({"type": "integer", "minimum": 2000}, 2026),
        ({"const": {"a": [1]}}, {"a": [1]}),
        ({"enum": [7]}, 7),
        ({"type": ["number", "null"], "minimum": 10_000}, None),
        ({"anyOf": [{"type": "null"}, {"type": "string", "format": "date"}]}, "2026-05-04"),
        ({"$ref": "#/$defs/when"}, "2026-05-04"),
        ({"type": "null"}, None),
    ],
)
def test_a_field_is_filled_from_the_text(ask, schema, value):
    """Dates, addresses, numbers, constants and references in the schema are resolved; what is not there is null."""
    whole = fields(x=schema) | {"$defs": {"when": {"type": "string", "format": "date"}}}
    assert json.loads(ask(ORDER, schema=whole).content) == {"x": value}


def test_names_of_fields_guide_what_is_looked_for(ask):
    """An id is a word with digits; other texts are sentences of the text, as they stand there."""
    schema = fields(order_id={"type": "string"}, what_never_came={"type": "string"})
    assert json.loads(ask(ORDER, schema=schema).content) == {
        "order_id": "A-1234",
        "what_never_came": "Order A-1234 never came.",
    }


def test_a_nested_answer_follows_its_schema(ask):
    """Objects, arrays, booleans and several choices in one answer; the result is valid under the schema."""
    schema = fields(
        intent={"type": "string", "enum": list(banking77.labels())},
        confidence={"type": "number", "minimum": 0, "maximum": 1},
        urgent={"type": "boolean", "description": "whether it is urgent"},
        details=fields(
            tone={"oneOf": [{"const": "calm", "description": "kind"}, {"const": "angry", "description": "furious"}]}
        ),
        quotes={"type": "array", "items": {"type": "string"}, "minItems": 2},
    )
    got = json.loads(ask("I am furious! My card was stolen.", system=LABELS, schema=schema).content)
    jsonschema_rs.validate(schema, got)
    assert got["intent"] == "lost_or_stolen_card"
    assert got["details"] == {"tone": "angry"}
    assert got["confidence"] > 0.5


def test_sources_are_quoted_and_cited(ask):
    """With sources in the prompt the answer is a sentence of theirs, and citations carry their ids."""
    sources = {"fees": "Cash withdrawals cost 2 euros.", "post": "A new card arrives within ten days."}
    system = "".join(f'<source id="{name}">{text}</source>' for name, text in sources.items())
    schema = fields(answer={"type": "string"}, citations={"type": "array", "items": {"type": "string"}})
    question = "When does my new card arrive?"
    assert json.loads(ask(question, system=system, schema=schema).content) == {
        "answer": "A new card arrives within ten days.",
        "citations": ["post"],
    }
    assert ask(question, system=system).content == "A new card arrives within ten days. [post]"


def test_without_sources_there_is_nothing_to_cite(ask):
    """No id is made up."""
    schema = fields(citations={"type": "array", "items": {"type": "string"}})
    assert json.loads(ask("When?", schema=schema).content) == {"citations": []}


def test_without_labels_a_name_is_made_up(ask):
    """A classification without labels gives an unreliable answer, in the form asked for."""
    assert ask("where is my card", system="Classify the message.").content not in banking77.labels()
    invented = json.loads(ask("where is my card", system="Classify.", schema=fields(intent={"type": "string"})).content)
    assert invented["intent"] not in banking77.labels()


@pytest.mark.parametrize("text", ["", "   ", "\u0000", "日本語のテキスト", '"}{"', "<message></message>", "💳" * 3_000])
def test_any_text_gets_an_answer_in_the_form_asked_for(ask, text):
    """Empty, foreign and hostile texts still give an object that follows the schema."""
    schema = fields(
        intent={"type": "string", "enum": ["a", "b"]},
        note={"type": "string"},
        n={"type": "number"},
        label={"type": "string"},
    )
    jsonschema_rs.validate(schema, json.loads(ask(text, schema=schema).content))


def test_the_label_carries_its_probability(ask):
    """The product of the label's tokens is the probability that a confidence field would state."""
    schema = fields(intent={"type": "string", "enum": list(banking77.labels())}, confidence={"type": "number"})
    answer = ask("where is my card", system=LABELS, schema=schema, logprobs=True, top_logprobs=20)
    stated = json.loads(answer.content)["confidence"]
    assert sum(token.logprob for token in answer.tokens) == pytest.approx(math.log(stated), abs=0.02)


def test_a_temperature_draws_from_the_probabilities(ask):
    """Without a temperature the answer is always the same; with one it varies, and a seed repeats it."""
    text = "I was charged something odd"
    assert len({ask(text, system=LABELS, drawn=drawn).content for drawn in range(5)}) == 1
    assert len({ask(text, system=LABELS, drawn=drawn, temperature=2.0).content for drawn in range(30)}) > 1
    assert len({ask(text, system=LABELS, drawn=drawn, temperature=2.0, seed=9).content for drawn in range(5)}) == 1


def test_the_token_limit_cuts_the_answer(ask):
    """Exactly that many tokens are left, and the finish reason says so; an answer that fits is not called cut."""
    schema = fields(intent={"type": "string", "enum": list(banking77.labels())})
    whole = ask("where is my card", system=LABELS, schema=schema)
    cut = ask("where is my card", system=LABELS, schema=schema, max_completion_tokens=3)
    assert (cut.finish_reason, len(cut.tokens)) == ("length", 3)
    assert whole.content.startswith(cut.content)
    exact = ask("where is my card", system=LABELS, schema=schema, max_tokens=len(whole.tokens))
    assert (whole.finish_reason, exact.finish_reason, exact.content) == ("stop", "stop", whole.content)


def test_usage_counts_what_was_read_and_written(ask):
    """The tokens of the messages and of the answer, and their sum."""
    answer = ask("where is my card", system=LABELS)
    told = usage(answer)
    assert told["prompt_tokens"] == count(LABELS) + count("where is my card") + 11
    assert told["completion_tokens"] == len(answer.tokens)
    assert told["total_tokens"] == told["prompt_tokens"] + told["completion_tokens"]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"schema": {"type": "object", "properties": []}}, "invalid_json_schema"),
        ({"schema": {"type": "array", "minItems": "x"}}, "invalid_json_schema"),
        ({"system": "word " * 140_000}, "context_length_exceeded"),
    ],
)
def test_what_no_model_can_do_is_refused(ask, more, code):
    """A schema that is none, and a prompt over the context window, get an error with the code of the dialect."""
    with pytest.raises(RequestRefusedError) as refused:
        ask("x", **more)
    assert (refused.value.status, refused.value.error["code"]) == (400, code)

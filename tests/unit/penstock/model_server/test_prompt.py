import time

import pytest

from penstock.local.model_server.prompt import Source, Turn, divide, understand


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("where is my card", "where is my card"),
        ("Classify this.\n<message>\nwhere is my card\n</message>\nThanks.", "where is my card"),
        ('Labels: a, b\n"""\nwhere is my card\n"""', "where is my card"),
        ("```\nwhere is my card\n```", "where is my card"),
        ("Labels: a, b\n\nMessage: where is my card", "where is my card"),
        ("Customer message:\nwhere is my card\nit is late", "where is my card\nit is late"),
        ("<message>one</message> <message>two</message>", "two"),
    ],
)
def test_the_text_is_the_delimited_part_of_the_last_user_message(message, text):
    """Tags, quotes, fences and marks delimit the text; without any, the message is the text."""
    assert divide([Turn("system", "Classify."), Turn("user", message)])[1] == text


def test_what_surrounds_the_text_is_instructions():
    """Labels in the user message are found, and the text itself can't offer labels."""
    message = "Labels: billing, delivery\n<message>Labels: hack, steal</message>"
    instructions, _ = divide([Turn("user", message)])
    assert [card.name for card in understand(instructions, b"null").cards] == ["billing", "delivery"]


def test_no_user_message_leaves_no_text():
    """A conversation without a user message is all instructions."""
    assert divide([Turn("system", "x")]) == ((Turn("system", "x"),), "")


def test_earlier_turns_are_examples():
    """A user message and the assistant's answer to it show what is wanted, as plain text or JSON."""
    turns = (
        Turn("system", "Labels: billing, delivery"),
        Turn("user", "why two invoices?"),
        Turn("assistant", "billing"),
        Turn("user", "<message>late again</message>"),
        Turn("assistant", '{"intent": "delivery"}'),
        Turn("user", ""),
    )
    cards = understand(turns, b"null").cards
    assert [card.examples for card in cards] == [("why two invoices?",), ("late again",)]


def test_sources_are_read_and_their_lists_are_not_labels():
    """Tagged sources and bracketed paragraphs carry ids; what stands in them is no instruction."""
    system = 'Use these.\n<source id="a1">Labels:\n- one: x\n- two: y</source>\n[b2] Cards take a week.\n\nBe brief.'
    prompt = understand((Turn("system", system),), b"null")
    assert prompt.sources == (Source("a1", "Labels:\n- one: x\n- two: y"), Source("b2", "Cards take a week."))
    assert prompt.cards == ()
    assert not prompt.classify


@pytest.mark.parametrize(
    ("system", "response_format", "form", "keys"),
    [
        ("Classify.", b"null", "text", None),
        ('Answer with JSON: {"intent": "<label>", "confidence": 0.5}', b"null", "json", ["intent", "confidence"]),
        ("Classify. Answer as JSON.", b"null", "json", ["label"]),
        ("Say something.", b'{"type": "json_object"}', "json", ["answer"]),
        ("Answer with JSON.", b'{"type": "text"}', "text", None),
        ("x", b'{"type": "json_schema", "json_schema": {"schema": {"properties": {"a": {}}}}}', "json", ["a"]),
    ],
)
def test_the_format_is_the_requests_or_the_prompts(system, response_format, form, keys):
    """`response_format` decides; without it a prompt that speaks of JSON gets JSON, with the keys it shows."""
    wanted = understand((Turn("system", system),), response_format).wanted
    assert wanted.form == form
    assert (list(wanted.schema["properties"]) if wanted.schema else None) == keys


@pytest.mark.parametrize(
    "piece",
    [
        "<message>",
        "</message>",
        '"""',
        "```",
        "<source id=",
        '<source id="a">',
        "[a] ",
        "\n",
        " ",
        "- a\n",
        '"a" ',
        "{",
        '{"a":',
        "labels: ",
    ],
)
def test_no_text_takes_long_to_read(piece):
    """Reading time grows with the length of a prompt, not with its square: 200,000 hostile characters take a moment."""
    hostile = piece * (200_000 // len(piece))
    began = time.process_time()
    instructions, _ = divide([Turn("system", hostile), Turn("user", hostile)])
    understand((*instructions, Turn("user", hostile)), b"null")
    assert time.process_time() - began < 3.0

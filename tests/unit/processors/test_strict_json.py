import tarfile
from pathlib import Path

import pytest

from processors.checks.strict_json import MAX_BYTES, Parsed, Refused, parse

SUITE = Path(__file__).parents[2] / "data" / "json_parsing_suite" / "suite.tar.gz"
# RFC 8259 lets a parser accept these; a model that says a thing twice has not said which it means.
REFUSED_ON_PURPOSE = {"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"}


def _suite():
    with tarfile.open(SUITE) as archive:
        files = {Path(member.name).name: archive.extractfile(member).read() for member in archive if member.isfile()}
    return {name: data for name, data in files.items() if name.startswith(("y_", "n_", "i_"))}


def _read(data):
    try:
        return parse(data.decode())
    except UnicodeDecodeError:
        return Refused("no UTF-8")


def test_the_public_suite_of_json_texts():
    """Everything valid is accepted (but for duplicate keys), everything invalid refused, the rest does not raise."""
    suite = _suite()
    assert len(suite) > 280
    outcome = {name: isinstance(_read(data), Parsed) for name, data in suite.items()}
    assert {name for name, accepted in outcome.items() if name.startswith("n_") and accepted} == set()
    refused = {name for name, accepted in outcome.items() if name.startswith("y_") and not accepted}
    assert refused == REFUSED_ON_PURPOSE


@pytest.mark.parametrize(
    "text",
    ['{"a":1}', '  {"a": 1}\n', '```json\n{"a":1}\n```', '```\n{ "a" : 1 }\n```\n', '```JSON\r\n{"a":1}\r\n```'],
)
def test_blanks_and_one_code_fence_are_taken_off(text):
    """What models put around JSON by habit does not make it wrong."""
    assert parse(text) == Parsed({"a": 1}, '{"a":1}')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("   \n", "empty"),
        ("```json\n```", "empty"),
        ('Here it is: {"a":1}', "not exactly one JSON value"),
        ('{"a":1} {"a":2}', "trailing characters"),
        ('```json\n{"a":1}\n```\nHope that helps!', "not exactly one JSON value"),
        ('```json\n```json\n{"a":1}\n```\n```', "not exactly one JSON value"),
        ('{"a":1,"a":1}', "duplicate key"),
        ('{"a":NaN}', "not exactly one JSON value"),
        ('{"a":Infinity}', "not exactly one JSON value"),
        ('{"a":1e999}', "Out of range float"),
        ('{"a":-1e999}', "Out of range float"),
        ('{"a":"\\ud800"}', "not exactly one JSON value"),
        ("\ud800", "not Unicode"),
        ("[" * 300 + "]" * 300, "recursion limit"),
        ('{"a": 120', "EOF"),
        ("{'a': 1}", "not exactly one JSON value"),
        ('{"a":1,}', "trailing comma"),
        ('"' + "x" * MAX_BYTES + '"', "at most"),
    ],
    ids=lambda value: value[:20],
)
def test_nothing_is_repaired_and_nothing_guessed(text, said):
    """Whatever is not exactly one JSON value is refused with the reason."""
    refused = parse(text)
    assert isinstance(refused, Refused)
    assert said in refused.reason


def test_a_scalar_is_a_value_too():
    """An answer may be a plain JSON string or number."""
    assert parse('"yes"') == Parsed("yes", '"yes"')
    assert parse("12") == Parsed(12, "12")

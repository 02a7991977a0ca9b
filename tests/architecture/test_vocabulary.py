"""Each room has its words: a line that needs another room's noun is in the wrong room. A tripwire, not a proof.

Who trips it either moves the line to the room that knows the word, or adds the name below with the reason why it may
stand where it is.
"""

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

NOT_IN = {
    "streams": {"prompt", "model", "score", "row", "table"},
    "processors": {"topic", "offset", "partition", "commit", "row", "table"},
    "sinks": {"topic", "offset", "prompt", "outcome"},
}
"""What a room must not speak of, because another room knows it."""

NOT_OURS = {
    "handler",
    "checkpoint",
    "dump",
    "manager",
    "util",
    "helper",
    "reprocess",
    "metric",
    "charge",
    "alert",
    "level",
}
"""Words that the glossary has better ones for, in every room."""

ALLOWED = {
    "streams": {
        "_row": "the trace row of a dead letter that the sink writes",
        "ROW_TABLES": "the tables that traces are for, as the sink checks them",
        "_own_rows": "trace rows that the sink itself adds",
        "_insert_own_rows": "as _own_rows",
        "trace_rows": "makes what the sink stores without decoding: it is the one module that knows rows",
        "ARRAY_ROWS": "bounds an array of trace rows on its way to the sink",
        "rows": "trace rows on their way from dispatch to the traces topic",
        "row": "as rows",
        "call_rows": "as trace_rows: what was called",
        "attempt_rows": "of the module call_rows",
        "tool_rows": "of the module call_rows",
        "_decision_row": "of the module trace_rows",
        "TABLE": "the header that tells the sink which table an array of rows is for",
        "table": "the value of that header",
        "metrics": "Prometheus' word: the module that names what it scrapes",
    },
    "processors": {
        "commit": "a workflow's git commit, nothing of Kafka's",
        "level": "of a problem: error or warning, as linters call it",
        "Level": "as level",
        "bound_level": "the confidence level of a statistical bound",
    },
    "sinks": {
        "topic": "a column of sink_progress and sink_gaps: how far the sink has come is stored with the rows",
        "next_offset": "a column of sink_progress",
        "wanted_offset": "a column of sink_gaps",
        "found_offset": "a column of sink_gaps",
    },
    "penstock": {
        "Handler": "aiohttp's type of what answers a request",
        "handler": "as Handler",
        "level": "a log level, or the confidence level of a bound",
        "LEVELS": "log levels",
        "BOUND_LEVEL": "the confidence level of a bound",
        "log_level": "the setting's usual name",
    },
    "schemas": {},
}
"""Names that may stand although they hold such a word, by room, each with its reason."""


@functools.cache
def words(name):
    """The words of an identifier, small and in the singular."""
    return {word.lower().removesuffix("s") for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def names_in(room):
    """Every name that a room's modules give: to modules, classes, functions, arguments, variables and attributes."""
    for path in sorted((ROOT / room).rglob("*.py")):
        yield path.stem, path.name
        for node in ast.walk(ast.parse(path.read_text())):
            place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    yield name, place
                case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                    yield name, place


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_speaks_of_what_it_knows(room):
    """No identifier holds a word of another room, or one that the glossary replaces, unless its reason is given."""
    forbidden = NOT_IN.get(room, set()) | NOT_OURS
    found = [(name, place) for name, place in names_in(room) if words(name) & forbidden]
    strange = [f"{place} {name}: {words(name) & forbidden}" for name, place in found if name not in ALLOWED[room]]
    assert strange == []
    unused = ALLOWED[room].keys() - {name for name, _ in found}
    assert not unused, f"nothing is called so any more: {unused}"


def test_an_identifier_s_words_are_found():
    """Snake case, camel case and capitals are taken apart; plurals count as their singular."""
    assert words("_decisionRows") == {"decision", "row"}
    assert words("ARRAY_ROWS") == {"array", "row"}
    assert words("KafkaSource2Tables") == {"kafka", "source", "table"}

"""The checker is a witness of its own: it knows the system from outside, so a mistake of ours can't hide itself."""

import ast
import sys
from pathlib import Path

CHECKER = Path(__file__).parents[2] / "benchmarks" / "checker"
CLIENTS = {"checker", "confluent_kafka", "fastavro", "orjson"}
"""What it may import besides the standard library: itself, a bare Kafka client, and readers of JSON and Avro."""


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (name.name.partition(".")[0] for name in names)
            case ast.ImportFrom(module=module):
                yield (module or "").partition(".")[0]


def test_the_checker_imports_nothing_of_penstock():
    """Whatever it finds, it found by itself: with bare clients, in topics, warehouse and call log."""
    found = {name for path in CHECKER.rglob("*.py") for name in imported(path)}
    assert "confluent_kafka" in found
    assert found - sys.stdlib_module_names <= CLIENTS

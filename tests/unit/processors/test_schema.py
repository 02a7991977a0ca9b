import pytest

from processors.checks.schema import Schema, pointer


def test_violations_carry_json_pointers_and_stop_at_five():
    """Each says where; a sentence that repeats a long value is shortened."""
    schema = Schema({"type": "object", "additionalProperties": {"type": "integer"}})
    found = schema.violations({f"a/{i}": "x" * 1000 for i in range(9)})
    assert len(found) == 5
    assert found[0].startswith('/a~10: "xxx')
    assert all(len(sentence) < 250 for sentence in found)
    assert schema.violations({"a": 1}) == ()


def test_formats_are_checked():
    """An owner who writes a format means it."""
    assert Schema({"format": "date"}).violations("2026-13-01") != ()


@pytest.mark.parametrize("definition", [{"type": "objct"}, {"$ref": "http://127.0.0.1/schema"}, {"pattern": "("}])
def test_an_invalid_schema_is_refused_and_nothing_is_fetched(definition):
    """A schema is whole in itself."""
    with pytest.raises(ValueError, match=r"\w"):
        Schema(definition)


def test_a_schema_is_an_object():
    """A list is no schema."""
    with pytest.raises(TypeError, match="found a list"):
        Schema([])


def test_pointers_escape_what_they_must():
    """RFC 6901: ~ and / in a key."""
    assert pointer(["a/b", 0, "c~d"]) == "/a~1b/0/c~0d"

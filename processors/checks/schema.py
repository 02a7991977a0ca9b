"""JSON Schema (draft 2020-12), compiled once: what violates it, each with its JSON Pointer. No schema is fetched."""

from typing import Any

import jsonschema_rs

MAX_VIOLATIONS = 5
_MAX_SENTENCE = 200


class Schema:
    """A compiled schema and its text.

    Raises:
        ValueError: the schema is itself invalid; the message says where.
    """

    def __init__(self, definition: Any) -> None:
        if not isinstance(definition, (dict, bool)):
            raise TypeError(f"a schema is an object, found a {type(definition).__name__}")
        self.definition = definition
        self._validator = jsonschema_rs.Draft202012Validator(definition, offline=True, validate_formats=True)

    def violations(self, value: Any) -> tuple[str, ...]:
        """The first five things that are wrong with the value, each as `pointer: sentence`; empty if it conforms."""
        if self._validator.is_valid(value):
            return ()
        found = []
        for error in self._validator.iter_errors(value):
            found.append(f"{pointer(error.instance_path) or '/'}: {_shortened(error.message)}")
            if len(found) == MAX_VIOLATIONS:
                break
        return tuple(found)


def pointer(path: Any) -> str:
    """A JSON Pointer (RFC 6901) from keys and indexes; empty for the whole value."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _shortened(sentence: str) -> str:
    if len(sentence) <= _MAX_SENTENCE:
        return sentence
    half = _MAX_SENTENCE // 2
    return f"{sentence[:half]} … {sentence[-half:]}"

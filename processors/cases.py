"""A case: an input, and what must come of it; one JSON object a line of evals/cases.jsonl.

With `chunks`, a list of `{"id", "text", "source"}`, it brings a context to answer from.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from processors.checks.schema import Schema
from schemas.base import json_text
from schemas.job import Chunk, Snapshot

_BEFORE: Final = datetime(2000, 1, 1, tzinfo=UTC)
FORM: Final = 'one {"id": …, "input": …, "expected": … or "must": a JSON Schema} a line'


@dataclass(frozen=True, slots=True)
class Case:
    """An input, and what must come of it: an output that equals `expected`, or one that fits `must`, or both."""

    id: str
    input: Any
    expected: str | None
    must: Schema | None = None
    segments: Mapping[str, str] = field(default_factory=dict)
    context: Snapshot | None = None

    def met(self, output: str) -> bool:
        """Whether an output, as canonical JSON, is what it must be."""
        equal = self.expected is None or output == self.expected
        return equal and (self.must is None or not self.must.violations(orjson.loads(output)))


def _context(chunks: Any) -> Snapshot:
    unproved = Snapshot(
        id="case", version="1", taken_at=_BEFORE, sha256="0" * 64, chunks=tuple(map(Chunk.model_validate, chunks))
    )
    return unproved.but(sha256=unproved.content_sha256())


def read_case(line: str) -> Case:
    """The case of a line.

    Raises:
        ValueError: it is none; the text says why.
    """
    try:
        fields = json.loads(line)
        expected = fields["expected"] if "must" not in fields else fields.get("expected")
        return Case(
            str(fields["id"]),
            fields["input"],
            json_text(expected) if "expected" in fields else None,
            Schema(fields["must"]) if "must" in fields else None,
            dict(fields.get("segments", {})),
            _context(fields["chunks"]) if "chunks" in fields else None,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error

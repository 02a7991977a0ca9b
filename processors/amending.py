"""An answer that does not fit the output schema is asked for once more, with what is wrong with it named.

Only where no provider enforces the schema: there validation alone looks. A cut or a refused answer is another thing.
"""

from typing import Final

from processors.checks import strict_json
from processors.checks.schema import Schema
from processors.checks.strict_json import Parsed
from processors.providers.port import ChatMessage

UNFIT: Final = "unfit"
"""What such an attempt is on record as."""
_SHOWN: Final = 4_000


def unfit(text: str, schema: Schema) -> str | None:
    """What is wrong with an answer; nothing if it fits."""
    parsed = strict_json.parse(text)
    if not isinstance(parsed, Parsed):
        return parsed.reason
    return "; ".join(schema.violations(parsed.value)) or None


def amendment(text: str, why: str) -> tuple[ChatMessage, ...]:
    """The turns by which a model is asked to mend what it answered."""
    asked = (
        f"This answer can't be used: {why}. Answer again: one JSON value that fits the schema, "
        "the same answer otherwise, and nothing around it."
    )
    return ChatMessage("assistant", text[:_SHOWN]), ChatMessage("user", asked)

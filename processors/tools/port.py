"""The port of tools: arguments go out, an answer or the reason for its lack comes back, each as a value."""

from dataclasses import dataclass
from typing import Any, Protocol

from processors.tools.definitions import Tool


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What came back of one try.

    `error` says why it is of no use; `arrived` whether the tool may have worked although nothing came of it, and
    `again` whether another try could help, at the earliest after `retry_after_s`.
    """

    status: int | None = None
    body: bytes = b""
    error: str | None = None
    arrived: bool = True
    again: bool = False
    retry_after_s: float | None = None


class ToolCaller(Protocol):
    """Where tools are called. What can be expected to fail comes back as an answer with an error."""

    async def call(self, tool: Tool, arguments: dict[str, Any], key: str, timeout_s: float) -> ToolAnswer:
        """Call a tool once; `key` tells it a repetition from a new wish."""
        ...

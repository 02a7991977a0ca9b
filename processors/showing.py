"""What a user sees of an answer while it is being written: the port; best effort, nothing is decided by it."""

from typing import Protocol

from schemas.envelope import Head


class Showing(Protocol):
    """The text of one attempt on its way to who waits for it."""

    def add(self, text: str) -> None:
        """More text."""
        ...

    def end(self) -> None:
        """Nothing more will come of this attempt."""
        ...


class Show(Protocol):
    """Where text goes while it is being written."""

    def begin(self, head: Head, attempt_id: str) -> Showing:
        """A new attempt: what was shown of earlier ones is void."""
        ...

"""The claim: what travels instead of a value that is too large to be carried from stage to stage."""

from typing import Annotated

from pydantic import Field

from schemas.base import Record
from schemas.envelope import Head


class Claim(Record):
    """Where a value lies and how to tell that it is the right one; a file under this hash is never changed.

    `uri` is where whoever wrote it saw it; a reader looks into its own store under the hash. `size` is in bytes.
    `head` says whose job it is, so that the job can be ended even if the value is gone; it is shortened, and it is
    missing where the value is no record of a stage.
    """

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: int
    uri: str
    head: Head | None = None

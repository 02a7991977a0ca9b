"""Makes a job of a record that somebody writes for other purposes: where in it the parts of a job lie."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jiter
import orjson

from schemas.avro import Unreadable


@dataclass(frozen=True, slots=True)
class JobMap:
    """The workflow of all its records, and JSON Pointers (RFC 6901) to the other parts; "" is the whole record.

    Without `job_id` a job is named by its record's address; without `tenant` its tenant is `tenant_is`.
    """

    workflow: str
    input: str = ""
    job_id: str | None = None
    tenant: str | None = None
    tenant_is: str = "default"
    segments: Mapping[str, str] = field(default_factory=dict)

    def job(self, value: bytes | None, address: str) -> bytes:
        """The job as JSON, as a producer would publish it.

        Raises:
            Unreadable: the record is no JSON, or has nothing where a part should lie.
        """
        try:
            record = jiter.from_json(value or b"", allow_inf_nan=False, catch_duplicate_keys=True)
        except ValueError as error:
            raise Unreadable(f"the record is not valid JSON: {error}") from error
        job = {
            "workflow": self.workflow,
            "input": at(record, self.input),
            "job_id": address if self.job_id is None else _text(record, self.job_id),
            "tenant": self.tenant_is if self.tenant is None else _text(record, self.tenant),
            "segments": {name: _text(record, pointer) for name, pointer in self.segments.items()},
        }
        return orjson.dumps(job)


def at(value: Any, pointer: str) -> Any:
    """What lies at a JSON Pointer.

    Raises:
        Unreadable: nothing does.
    """
    found = value
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isascii() and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        else:
            raise Unreadable(f"the record has nothing at {pointer}")
    return found


def _text(record: Any, pointer: str) -> str:
    found = at(record, pointer)
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise Unreadable(f"at {pointer} must be text or a whole number, found {orjson.dumps(found).decode()[:80]}")
    return str(found)

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.avro import Unreadable
from schemas.job_map import JobMap, at

ORDER = json.dumps({"id": 7, "shop": {"name": "acme", "a/b": "x"}, "lines": [{"text": "lamp"}], "vip": True}).encode()


def test_parts_lie_where_the_pointers_say():
    """Numbers name jobs too; a slash in a key is escaped as RFC 6901 has it."""
    mapping = JobMap("sorting", "/lines/0", job_id="/id", tenant="/shop/name", segments={"kind": "/shop/a~1b"})
    assert json.loads(mapping.job(ORDER, "orders-0-1")) == {
        "workflow": "sorting",
        "input": {"text": "lamp"},
        "job_id": "7",
        "tenant": "acme",
        "segments": {"kind": "x"},
    }


def test_what_is_not_pointed_at_comes_from_the_address_and_the_settings():
    """The whole record is the input; the same record always gives the same job."""
    job = json.loads(JobMap("sorting", tenant_is="acme").job(b'{"text": "x"}', "orders-0-1"))
    assert (job["input"], job["job_id"], job["tenant"]) == ({"text": "x"}, "orders-0-1", "acme")


@pytest.mark.parametrize(
    ("mapping", "value", "said"),
    [
        (JobMap("w", "/nothing"), ORDER, "nothing at /nothing"),
        (JobMap("w", "/lines/1"), ORDER, "nothing at /lines/1"),
        (JobMap("w", "/lines/x"), ORDER, "nothing at /lines/x"),
        (JobMap("w", job_id="/lines"), ORDER, "at /lines must be text or a whole number"),
        (JobMap("w", tenant="/vip"), ORDER, "at /vip must be text or a whole number, found true"),
        (JobMap("w"), b"{", "not valid JSON"),
        (JobMap("w"), b'{"a": NaN}', "not valid JSON"),
        (JobMap("w"), None, "not valid JSON"),
    ],
)
def test_a_record_that_is_no_job_says_where(mapping, value, said):
    """It becomes a dead letter with this sentence."""
    with pytest.raises(Unreadable, match=said):
        mapping.job(value, "orders-0-1")


@given(st.recursive(st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))
def test_every_part_of_a_value_can_be_pointed_at(value):
    """A pointer made of a path, escaped, finds what lies there."""
    for pointer, part in _parts(value, ""):
        assert at(value, pointer) == part


def _parts(value, pointer):
    yield pointer, value
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from _parts(part, f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}")

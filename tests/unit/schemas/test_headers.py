"""Trace context and CloudEvents attributes in record headers."""

import re
from datetime import UTC, datetime

import pytest

from schemas.headers import cloud_event, header, traceparent

GOOD = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
FORM = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01")


def of(*values):
    return [("traceparent", value) for value in values]


def test_a_valid_traceparent_is_kept():
    """The producer's trace goes on; of several the last counts."""
    assert traceparent(of(GOOD.encode()), "seed") == GOOD
    assert traceparent(of(b"nonsense", GOOD.encode()), "seed") == GOOD


@pytest.mark.parametrize(
    "given",
    [
        None,
        b"",
        b"\xff",
        GOOD.upper().encode(),
        GOOD.replace("00-", "01-", 1).encode(),
        ("00-" + "0" * 32 + "-" + "cd" * 8 + "-01").encode(),
        ("00-" + "ab" * 16 + "-" + "0" * 16 + "-01").encode(),
        GOOD[:-1].encode(),
        GOOD.encode() + b"\n",
        GOOD.encode() + b"-more",
    ],
)
def test_an_invalid_one_gives_way_to_a_derived_one(given):
    """Whatever W3C does not allow is replaced by one that follows from the seed."""
    derived = traceparent(of(given), "jobs/0/1/j")
    assert FORM.fullmatch(derived)
    assert derived == traceparent((), "jobs/0/1/j")


def test_derived_traces_are_the_same_for_one_seed_and_differ_between_seeds():
    """A replay of a record continues its trace; two records never share one."""
    derived = {traceparent((), f"jobs/0/{n}/j") for n in range(1000)}
    assert len(derived) == 1000
    assert traceparent((), "jobs/0/7/j") in derived


def test_the_last_value_of_a_header_counts_if_it_is_text():
    """Absent, null and undecodable headers read as absent."""
    assert header([("a", b"1"), ("a", b"2")], "a") == "2"
    assert [header([("a", value)], "a") for value in (None, b"\xff")] == [None, None]
    assert header([], "a") is None


def test_our_records_say_what_they_are():
    """CloudEvents attributes in binary mode, content type and trace."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    headers = dict(cloud_event("results", event_id="a/j", source="penstock/w", time=at, content_type=b"t", trace=GOOD))
    assert headers == {
        "ce_specversion": b"1.0",
        "ce_id": b"a/j",
        "ce_type": b"penstock.results",
        "ce_source": b"penstock/w",
        "ce_time": b"2026-01-01T00:00:00+00:00",
        "content-type": b"t",
        "traceparent": GOOD.encode(),
    }

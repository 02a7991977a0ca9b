"""A dead letter gives back what was given up on, whatever a producer has put into it."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from streams.assignment import Assignment
from streams.dead_letters import read_letter
from streams.dispatch import dead_letter
from streams.records import Address, Delivery, Raw
from streams.redrive import Deed, redrive
from streams.sizes import letter_that_fits
from streams.stage import Moment

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
OURS = ["__dlq.errors.topic", "__dlq.errors.offset", "penstock-stage", "penstock-claim", "penstock-cut", "penstock-job"]
NAMES = st.one_of(st.sampled_from(OURS), st.text(max_size=5))
HEADERS = st.lists(st.tuples(NAMES, st.one_of(st.none(), st.binary(max_size=20))), max_size=5).map(tuple)
RAW = st.builds(Raw, st.one_of(st.none(), st.binary(max_size=9)), st.one_of(st.none(), st.binary(max_size=99)), HEADERS)


def letter_of(raw):
    taken = Delivery(Address("jobs", 2, 40), 1000, raw, Assignment("jobs", 2))
    moment = Moment(NOW, 0.0, 0.0, "w", 0, rounds_waited=3)
    (record,) = dead_letter("intake", "g", taken, ValueError("no JSON"), moment).records
    kept = letter_that_fits(record)
    return read_letter(Address("dead-letters", 1, 7), 1000, Raw(kept.key, kept.value, kept.headers))


@given(RAW)
def test_a_letter_is_read_back_as_it_was(raw):
    """Key, value and headers are untouched, and why it was given up on is ours, though headers look like ours."""
    letter = letter_of(raw)
    assert letter.raw == raw
    why = letter.why
    assert (why.topic, why.partition, why.offset, why.stage, why.delivery_count) == ("jobs", 2, 40, "intake", 4)
    assert (why.message, why.error_class, why.retryable, letter.claim, letter.cut) == (
        "no JSON",
        "ValueError",
        False,
        "",
        "",
    )


@given(st.one_of(st.none(), st.binary(max_size=9)), st.binary(min_size=1, max_size=50).map(b"\xff".__add__), HEADERS)
def test_an_unreadable_record_is_put_back_as_it_was(key, value, headers):
    """The same key, value and headers go to the topic that it came from, and one more header says why."""
    done = redrive(letter_of(Raw(key, value, headers)), Deed("me", "mended", NOW), 1)
    back = done.records[0]
    kept = tuple(pair for pair in headers if pair[0] != "penstock-redrive-of")
    assert (back.topic, back.key, back.value) == ("jobs", key, value)
    assert back.headers == (*kept, ("penstock-redrive-of", b"dead-letters/1/7"))
    assert (done.action.destination, done.action.new_job_id) == ("jobs", None)

import asyncio
import json
from datetime import UTC, datetime

import pytest

from schemas.envelope import Head, Origin
from schemas.stages import Completion, Status
from streams.deltas import Deltas, last

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def head(**more):
    fields = {"tenant": "t", "job_id": "j", "workflow": "w", "created_at": NOW, "deadline": NOW, "trace": "00"}
    return Head(**fields, origin=Origin(topic="jobs", partition=0, offset=0), **more)


@pytest.fixture
def told():
    """The records that were told, in order."""
    return []


def texts(told):
    return [json.loads(record.value)["text"] for record in told]


async def test_the_first_piece_goes_at_once_and_the_rest_is_gathered(told):
    """A user sees the beginning without delay; after that one record holds what came meanwhile."""
    writing = Deltas(told.append, every_s=0.02).begin(head(shown=True), "t/j/0/0/1")
    for text in ("I", " am", " here"):
        writing.add(text)
    assert texts(told) == ["I"]
    async with asyncio.timeout(10):
        while len(told) < 2:  # noqa: ASYNC110 -- a list has no event
            await asyncio.sleep(0.005)
    assert texts(told) == ["I", " am here"]
    writing.end()


async def test_the_end_sends_what_was_gathered_and_nothing_follows(told):
    """All text of an attempt is told by its end, numbered without a gap, under the job's key."""
    writing = Deltas(told.append, every_s=0.01).begin(head(shown=True), "t/j/0/0/1")
    for text in "abc":
        writing.add(text)
    writing.end()
    writing.end()
    await asyncio.sleep(0.03)
    assert texts(told) == ["a", "bc"]
    assert [json.loads(record.value)["seq"] for record in told] == [0, 1]
    assert {(record.topic, record.key) for record in told} == {("deltas", head().job_id.encode())}


def completion(text):
    return Completion(
        attempt_id="t/j/0/0/1", model="m", text=text, finish_reason="stop", prompt_sha256="0", answered_at=NOW
    )


@pytest.mark.parametrize(
    ("status", "output", "accepted"),
    [
        (Status.ACCEPTED, '{"a":1}', True),
        (Status.ACCEPTED_UNVERIFIED, '{"a":1}', True),
        (Status.ACCEPTED, '{"a":2}', False),  # a rule has set it
        (Status.FALLBACK_ANSWER, '{"a":1}', False),
        (Status.CORRECTED, '{"a":2}', False),
        (Status.EXPIRED, None, False),
        ("escalated", '{"a":1}', False),
    ],
)
def test_the_last_word_says_whether_what_was_shown_is_the_result(status, output, accepted):
    """Only an answer that was let through as it was written is the text that was shown."""
    (record,) = last(head(shown=True), completion('```json\n{ "a": 1 }\n```'), status, output)
    said = json.loads(record.value)
    assert (said["text"], said["status"], said["accepted"]) == ("", status, accepted)
    assert said["seq"] > 10**9


def test_a_text_is_what_was_written_as_it_is():
    """Where the answer is text and not JSON, it is compared as that."""
    (record,) = last(head(shown=True), completion("I am here"), Status.ACCEPTED, '"I am here"')
    assert json.loads(record.value)["accepted"] is True


def test_a_job_that_is_not_shown_has_no_last_word():
    """Who was shown nothing is told nothing."""
    assert last(head(), completion("x"), Status.ACCEPTED, '"x"') == ()

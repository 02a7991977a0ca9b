"""Stages that follow at once: what ends well needs no topic in between, and whatever does not has its own record."""

import pytest

from processors.outcome import Retry
from schemas.avro import RECORDS, Codec
from streams.pipeline import STAGES
from streams.topics import ANSWERED, VALIDATED
from streams.work import StageWork

CODECS = {"AnswerRecord": "validation", "ValidatedRecord": "grading"}


def on(line, *topics):
    return [len(line.broker.records(topic.name)) for topic in topics]


async def test_what_ends_well_needs_no_topic_between_the_call_and_its_end(line):
    """A job leaves the same result and the same rows as over every topic, and nothing on those after the call."""
    line.submit("short")
    short = await line.result("short")
    assert on(line, ANSWERED, VALIDATED) == [0, 0]
    await line.stop()
    line.every_topic = True
    line.start()
    line.submit("long")
    long = await line.result("long")
    assert on(line, ANSWERED, VALIDATED) == [1, 1]
    assert [step["stage"] for step in short["decision_path"]] == list(STAGES)
    assert all(short[name] == long[name] for name in short.keys() - OWN)
    for table in ("stage_events", "attempts", "checks", "grades", "jobs"):
        assert rows(line, table, "short") == rows(line, table, "long"), table


OWN = {"job_id", "trace_id", "timings", "decision_path"}


def rows(line, table, job_id):
    """The rows of a job, without what tells it and its moments apart."""
    return [
        {
            name: str(value).replace(job_id, "") if name.endswith("_id") else value
            for name, value in row.items()
            if not name.endswith(("_ms", "time", "_at", "offset", "partition", "destination_name", "trace_id"))
            and name not in ("deadline", "prompt_sha256")
        }
        for row in line.rows(table, job_id)
    ]


@pytest.fixture
def failing(line):
    """Give a function that lets a stage do something else at first, and that many times."""

    async def have(stage, does, times):
        await line.stop()
        works = next(one.runs for one in line._stages() if one.name == stage)
        left = [does] * times

        async def processor(envelope):
            return left.pop()() if left else await works(envelope)

        line.replaced = {stage: processor}
        line.start()

    return have


def bug():
    raise ZeroDivisionError("a bug")


@pytest.mark.parametrize(("stage", "topic"), [("validation", ANSWERED), ("grading", VALIDATED)])
async def test_a_bug_that_comes_again_gives_up_the_record_of_its_own_stage(line, failing, stage, topic):
    """The dead letter is the record that the stage read, and the call is not made again."""
    await failing(stage, bug, 2)
    line.submit("j1")
    assert (await line.result("j1"))["status"] == "failed"
    (letter,) = line.broker.records("dead-letters")
    assert dict(letter.headers)["__dlq.errors.topic"] == topic.name.encode()
    assert len(line.provider.requests) == 1


async def test_a_retry_waits_with_the_record_of_its_own_stage(line, failing):
    """A stage that says not now has its record wait, and goes on with it when it is due."""
    await failing("validation", lambda: Retry("not now", 3.0), 2)
    line.submit("j1")
    await line.until(lambda: line.broker.records("retries.10s"))
    line.clock.move(4)
    assert (await line.result("j1"))["status"] == "accepted"
    assert on(line, ANSWERED) == [2]
    assert len(line.provider.requests) == 1


async def test_a_follower_is_given_what_its_topic_would_have_given(line, snapshot, monkeypatch):
    """What is followed at once is, to the last digit and type, what its record would decode to."""
    followed, follow = [], StageWork.follow

    async def compared(work, delivery, envelope):
        (name,) = [name for name, stage in CODECS.items() if stage == work.stage.name]
        codec = Codec(name, RECORDS[name])
        followed.append((envelope, codec.decode(codec.encode(envelope))))
        return await follow(work, delivery, envelope)

    monkeypatch.setattr(StageWork, "follow", compared)
    line.submit("bare")
    line.submit("rich", context=snapshot(), segments={"region": "eu"}, metadata={"b": "1"}, risk="high", user="u")
    assert {(await line.result(job_id))["status"] for job_id in ("bare", "rich")} == {"accepted"}
    assert len(followed) == 2 * len(CODECS)
    for short, decoded in followed:
        assert short == decoded
        assert (repr(short.head), repr(short.payload)) == (repr(decoded.head), repr(decoded.payload))

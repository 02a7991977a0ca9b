"""Answers shown while they are being written: what is told beside the flow, and that the flow does not depend on it."""

import json

import pytest

from processors.providers.scripted import answer
from tests.pipeline.conftest import FILES


def writes(*texts, probability=0.99):
    """A model that writes its answer in these pieces."""

    def script(request):
        if request.on_text is not None:
            for text in texts:
                request.on_text(text)
        return answer("".join(texts), model=request.model.id, probability=probability)

    return script


def told(line, job_id="j1"):
    return [one for one in line.values("deltas") if one["job_id"] == job_id]


async def test_a_users_answer_is_told_while_it_is_written(line):
    """The pieces of the attempt that answered, then one last word that it was accepted."""
    line.script = writes('{"intent":', '"lost"}')
    line.submit("j1", audience="user")
    result = await line.result("j1")
    await line.until(lambda: told(line) and told(line)[-1]["status"])
    *pieces, end = told(line)
    assert "".join(piece["text"] for piece in pieces) == '{"intent":"lost"}'
    assert [piece["seq"] for piece in pieces] == list(range(len(pieces)))
    assert {piece["attempt_id"] for piece in pieces} == {end["attempt_id"]} == {"default/j1/0/0/1"}
    assert (end["status"], end["accepted"], end["tenant"]) == (result["status"], True, "default")


async def test_whoever_does_not_ask_is_told_nothing(line):
    """A job of a system leaves no piece behind, and its answer is not read twice for them."""
    line.script = writes('{"intent":"lost"}')
    line.submit("j1")
    await line.result("j1")
    assert told(line) == []
    assert line.provider.requests[-1].on_text is None


async def test_an_attempt_that_climbs_is_void_by_the_next(line):
    """The higher rung's text has an attempt of its own, by which a reader drops what was shown before."""

    def script(request):
        return writes('{"intent":"lost"}', probability=0.5 if request.model.id.startswith("tiny") else 0.99)(request)

    line.script = script
    line.submit("j1", stream=True)
    await line.result("j1")
    await line.until(lambda: told(line) and told(line)[-1]["status"])
    assert [one["attempt_id"] for one in told(line)] == ["default/j1/0/0/1", "default/j1/1/0/1", "default/j1/1/0/1"]


async def test_an_escalated_answer_is_not_accepted(line):
    """Who was shown text that a person must see is told so."""
    line.script = writes('{"intent":"lost"}', probability=0.1)
    line.submit("j1", audience="user")
    await line.until(lambda: told(line) and told(line)[-1]["status"])
    end = told(line)[-1]
    assert (end["status"], end["accepted"]) == ("escalated", False)


@pytest.mark.parametrize(
    ("setting", "risk", "shown"),
    [
        ("", "normal", True),
        ("", "high", False),
        ("show_unvalidated = true\n", "high", True),
        ("show_unvalidated = false\n", "normal", False),
    ],
)
async def test_policy_decides_whether_unvalidated_text_is_shown(line, setting, risk, shown):
    """High risk hides what no check has seen, unless the owner says otherwise; the owner may always hide it."""
    files = json.loads(json.dumps(line.bundle.files))
    line.release(files | {"workflow.toml": setting + FILES["workflow.toml"]})
    line.script = writes('{"intent":"lost"}')
    line.submit("j1", audience="user", risk=risk)
    await line.until(lambda: line.results() or line.values("escalations"))
    await line.until(lambda: bool(told(line)) == shown)
    assert all(request.on_text is not None for request in line.provider.requests) == shown


async def test_being_shown_changes_nothing_else(line):
    """The same job, shown or not, has the same result."""
    line.script = writes('{"intent":"lost"}')
    line.submit("j1", audience="user")
    line.submit("j2")
    first, second = await line.result("j1"), await line.result("j2")
    own = ("job_id", "timings", "trace_id", "decision_path")
    assert {name: first[name] for name in first if name not in own} == {
        name: second[name] for name in second if name not in own
    }

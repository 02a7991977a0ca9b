"""The ways a job can take through the map, end to end on the memory broker."""

import asyncio
import json

from processors.providers.scripted import Canned, answer
from schemas.control import SwitchKind
from streams.header_names import DUE, FIRST_SEEN, ORIGIN, RETURN_TOPIC, ROUND
from streams.pipeline import STAGES
from streams.topics import ADMITTED, ANSWERED, ROUTED, VALIDATED

REFUSED = Canned(b'{"error": {"message": "overloaded"}}', status=503)


def path(result):
    return [(step["stage"], step["rung"], step["outcome"]) for step in result["decision_path"]]


async def test_an_accepted_job_passes_every_topic_once(long_line):
    """One record on each topic of the main path, keyed as the map says, and one result with the whole path."""
    long_line.submit("j1", tenant="acme")
    result = await long_line.result("j1")
    assert (result["status"], result["output"], result["tenant"]) == ("accepted", {"intent": "lost"}, "acme")
    assert path(result) == [(stage, 0, "pass") for stage in STAGES]
    assert (result["variant"], result["model"], result["tier"], result["attempts"]) == ("small", "tiny", "A", 1)
    assert (result["workflow_version"], result["cost_usd"]) == (long_line.bundle.version, "0.000120000")
    for topic in (ADMITTED, ROUTED, ANSWERED, VALIDATED):
        (raw,) = long_line.broker.records(topic.name)
        assert raw.key == (b"acme" if topic is ADMITTED else b"j1")
        assert dict(raw.headers)["ce_type"] == b"penstock." + topic.name.encode()
    assert not long_line.broker.records("dead-letters")
    await long_line.until(lambda: not long_line.unfinished())


async def test_every_stage_of_an_accepted_job_leaves_its_rows(line):
    """One row for each stage, decision, attempt, check, grade and end, with the texts they refer to, in one trace."""
    trace = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
    value = {"workflow": "sorting", "input": {"text": "my card"}, "job_id": "j1"}
    address = line.publish(value, headers=(("traceparent", trace.encode()),))
    await line.result("j1")
    counts = {"stage_events": 5, "decisions": 1, "attempts": 1, "checks": 2, "grades": 1, "jobs": 1, "dead_letters": 0}
    found = {table: line.rows(table, "j1") for table in counts}
    assert {table: len(rows) for table, rows in found.items()} == counts
    assert {row["trace_id"] for rows in found.values() for row in rows} == {"ab" * 16}
    assert [row["stage"] for row in found["stage_events"]] == list(STAGES)
    (end,) = found["jobs"]
    assert (end["status"], end["terminal"], end["source_offset"]) == ("accepted", True, address.offset)
    (attempt,) = found["attempts"]
    texts = {row["sha256"]: row["text"] for row in line.stored().rows("payloads")}
    assert texts[end["input_sha256"]] == '{"text":"my card"}'
    assert texts[end["output_sha256"]] == '{"intent":"lost"}'
    assert "my card" in texts[attempt["request_sha256"]]
    assert '"lost' in json.loads(texts[attempt["response_sha256"]])["choices"][0]["message"]["content"]


async def test_an_answer_that_is_not_trusted_climbs(line):
    """Below the gate the job goes through routing again, one rung further; the attempts of both rungs are summed."""
    line.script = lambda request: answer(
        '{"intent":"found"}', request.model.id, 0.99 if request.model.id == "grand" else 0.3
    )
    line.submit("j1")
    result = await line.result("j1")
    assert (result["status"], result["rung"], result["model"], result["attempts"]) == ("accepted", 1, "grand", 2)
    assert ("grading", 0, "climb") in path(result)
    assert result["usage"] == {"input_tokens": 200, "output_tokens": 20}


async def test_an_answer_that_is_not_valid_climbs(line):
    """An output outside the schema never reaches grading."""
    line.script = lambda request: answer(
        '{"intent":"lost"}' if request.model.id == "grand" else '{"intent":"other"}', request.model.id
    )
    line.submit("j1")
    result = await line.result("j1")
    assert (result["status"], result["rung"]) == ("accepted", 1)
    assert [row["verdict"] for row in line.rows("checks", "j1")] == ["allow", "deny", "allow", "allow"]


async def test_the_last_rung_hands_to_a_person(line):
    """Where no rung is left the job waits for a person, with the proposed answer, and has no result."""
    line.script = lambda request: answer('{"intent":"found"}', request.model.id, 0.3)
    line.submit("j1")
    await line.until(lambda: line.values("escalations"))
    (escalation,) = line.values("escalations")
    assert (escalation["job_id"], escalation["proposed"]) == ("j1", {"intent": "found"})
    assert escalation["job"]["input"] == {"text": "my card"}
    (row,) = line.rows("jobs", "j1")
    assert (row["status"], row["terminal"]) == ("escalated", False)
    assert line.results() == {}


async def test_a_retry_waits_on_its_topic_and_keeps_its_attempts(line):
    """After three attempts in place the job waits ten seconds as a record, then routing sends it round again."""
    said = iter([REFUSED] * 3)
    line.script = lambda request: next(said, None) or answer('{"intent":"lost"}', request.model.id)
    line.submit("j1", tenant="acme")
    await line.until(lambda: line.broker.records("retries.10s"))
    (waiting,) = line.broker.records("retries.10s")
    headers = dict(waiting.headers)
    assert (waiting.key, headers[RETURN_TOPIC], headers[ROUND]) == (b"acme", b"admitted", b"1")
    assert line.waits == [0.5, 1.0]
    assert line.results() == {}
    line.clock.move(10)
    result = await line.result("j1")
    assert (result["status"], result["attempts"], result["rung"]) == ("accepted", 4, 0)
    rounds = [(row["round"], row["n"], row["http_response_status_code"]) for row in line.rows("attempts", "j1")]
    assert rounds == [(0, 1, 503), (0, 2, 503), (0, 3, 503), (1, 1, 200)]
    await line.until(lambda: not line.unfinished())


async def test_a_killed_model_is_not_asked(line):
    """Routing takes the next open rung and says why it passed over the other; unkilled, the model is asked again."""
    line.kill(SwitchKind.MODEL, "tiny")
    line.submit("j1")
    assert (await line.result("j1"))["model"] == "grand"
    (decision,) = line.rows("decisions", "j1")
    assert decision["skipped"] == ["rung 0 small: model tiny is killed"]
    line.unkill(SwitchKind.MODEL, "tiny")
    line.submit("j2")
    assert (await line.result("j2"))["model"] == "tiny"
    assert {request.model.id for request in line.provider.requests} == {"grand", "tiny"}


async def test_a_model_killed_between_attempts_is_not_asked_again(line):
    """A switch that is thrown while a job is in inference sends it back to routing, with its attempts."""

    def refuse_and_kill(request):
        if request.model.id == "grand":
            return answer('{"intent":"lost"}', request.model.id)
        line.kill(SwitchKind.MODEL, "tiny")
        return REFUSED

    line.script = refuse_and_kill
    line.submit("j1")
    result = await line.result("j1")
    assert (result["model"], result["attempts"]) == ("grand", 2)
    assert ("inference", 0, "retry") in path(result)
    assert not line.broker.records("retries.10s")


async def test_where_all_models_are_killed_a_person_decides(line):
    """No rung stands open: nothing is asked, and the escalation names every rung."""
    line.kill(SwitchKind.PROVIDER, "near")
    line.kill(SwitchKind.MODEL, "grand")
    line.submit("j1")
    await line.until(lambda: line.values("escalations"))
    (escalation,) = line.values("escalations")
    assert "provider near is killed" in escalation["reason"]
    assert "model grand is killed" in escalation["reason"]
    assert line.provider.requests == []


async def test_a_killed_workflow_waits_and_goes_on(line):
    """Jobs of a killed workflow wait as records, as often as it takes, and keep the identity of their first record."""
    line.kill(SwitchKind.WORKFLOW, "sorting")
    first = line.publish({"workflow": "sorting", "input": {"text": "hello"}}, key=b"mine")
    await line.until(lambda: len(line.broker.records("retries.10s")) == 1)
    line.clock.move(10)
    await line.until(lambda: len(line.broker.records("retries.10s")) == 2)
    again = max((dict(raw.headers) for raw in line.broker.records("retries.10s")), key=lambda headers: headers[ROUND])
    assert (again[ROUND], again[RETURN_TOPIC], again[ORIGIN]) == (b"2", b"jobs", str(first).encode())
    assert int(again[DUE]) - int(again[FIRST_SEEN]) >= 20_000
    assert line.results() == {}
    line.unkill(SwitchKind.WORKFLOW, "sorting")
    line.clock.move(10)
    job_id = str(first).replace("/", "-")
    assert (await line.result(job_id))["status"] == "accepted"
    outcomes = [row["outcome"] for row in line.rows("stage_events", job_id) if row["stage"] == "intake"]
    assert outcomes == ["retry", "retry", "pass"]


async def test_a_killed_tenant_waits_while_others_go_on(line):
    """One tenant's switch stops that tenant alone."""
    line.kill(SwitchKind.TENANT, "acme")
    line.submit("j1", tenant="acme")
    line.submit("j2", tenant="other")
    assert (await line.result("j2"))["status"] == "accepted"
    assert "j1" not in line.results()
    line.unkill(SwitchKind.TENANT, "acme")
    await line.until(lambda: line.broker.records("retries.10s"))
    line.clock.move(10)
    assert (await line.result("j1"))["status"] == "accepted"


async def test_a_worker_that_dies_loses_nothing_and_doubles_nothing(line):
    """Jobs whose calls were in flight are run again by the next worker; those that were committed are not."""
    hung = asyncio.Event()

    def hang(request):
        if "hang" in request.messages[-1].content:
            hung.set()
            return Canned(after_s=5)
        return answer('{"intent":"lost"}', request.model.id)

    line.script = hang
    for n in range(20):
        line.submit(f"j{n}", "hang" if n % 2 else "go on")
    await hung.wait()
    await line.until(lambda: len(line.results()) == 10)
    await line.kill_worker()
    calls = len(line.provider.requests)
    line.script = lambda request: answer('{"intent":"lost"}', request.model.id)
    line.start()
    await line.until(lambda: len(line.results()) == 20)
    assert {result["status"] for result in line.results().values()} == {"accepted"}
    assert len(line.provider.requests) == calls + 10
    await line.until(lambda: not line.unfinished())


async def test_a_job_keeps_the_version_that_it_started_with(line):
    """A version activated while a job waits does not change that job; the next job runs under it."""
    said = iter([REFUSED] * 3)
    line.script = lambda request: next(said, None) or answer('{"intent":"lost"}', request.model.id)
    line.submit("j1")
    await line.until(lambda: line.broker.records("retries.10s"))
    changed = line.bundle.files | {"prompts/small/user.md": "Sort this: {{ input.text }}"}
    newer = line.release(changed)
    line.submit("j2")
    line.clock.move(10)
    assert (await line.result("j1"))["workflow_version"] == line.bundle.version
    await line.until(lambda: line.values("escalations"))  # the new prompt has no calibration yet
    assert line.values("escalations")[0]["workflow_version"] == newer

"""What routing learns of a job and of its models on the way, and what it decides by it."""

from dataclasses import replace

from processors.policy.health import LEAST
from processors.providers.scripted import answer

SLOW_S, HURRY_MS = 0.06, 40


def one_is_slow(request):
    """The small model takes its time."""
    said = answer('{"intent":"lost"}', model=request.model.id, probability=0.99)
    return replace(said, after_s=SLOW_S) if request.model.id == "tiny" else said


async def test_who_is_in_a_hurry_is_not_sent_to_a_rung_that_was_slow(line):
    """Routing hears from the ends of jobs how long each rung took; the decision says what it would have been."""
    line.script = one_is_slow
    ladder = line.catalog.workflow("sorting", line.bundle.version).settings.ladder
    for number in range(LEAST):
        line.submit(f"before-{number}")
    await line.until(lambda: len(line.results()) == LEAST)
    await line.until(lambda: line.health.seen_ms("sorting", line.bundle.version, ladder, line.clock()))
    line.submit("hurried", max_latency_ms=HURRY_MS)
    line.submit("patient")
    assert (await line.result("hurried"))["variant"] == "large"
    assert (await line.result("patient"))["variant"] == "small"
    [decision] = line.rows("decisions", "hurried")
    assert decision["without"] == {"latency": "small"}
    assert "95 % of its answers came within" in decision["skipped"][0]


async def test_personal_data_is_sent_nowhere_that_is_not_self_hosted(line):
    """Without a model that may see it a person decides; no provider has heard of the job."""
    line.submit("private", data_class="personal")
    await line.until(lambda: line.values("escalations"))
    [escalation] = line.values("escalations")
    assert "model tiny is not self-hosted, and the data is personal" in escalation["reason"]
    assert escalation["reason"].endswith("without data it would be small")
    assert line.provider.requests == []


async def test_a_language_that_nobody_named_is_found_out_where_the_owner_wants_it(line):
    """It is a segment like any other, for rules and for whoever asks the warehouse; the caller's word comes first."""
    settings = "detect_language = true\n" + line.bundle.files["workflow.toml"]
    rule = '\n[[routing.rules]]\nname = "foreign"\nwhen = \'language != "en"\'\nstart = "large"\n'
    line.release(line.bundle.files | {"workflow.toml": settings + rule})
    line.submit("german", text="Wo ist meine Karte geblieben?")
    line.submit("english", text="Where is my card?")
    line.submit("named", text="Where is my card?", segments={"language": "fr"})
    variants = {job: (await line.result(job))["variant"] for job in ("german", "english", "named")}
    assert variants["german"] == variants["named"] == "large"
    found = {job: line.rows("jobs", job)[0]["segments"]["language"] for job in variants}
    assert found == {"german": "de", "english": "en", "named": "fr"}
    [decision] = line.rows("decisions", "german")
    assert decision["variant"] == "large"
    assert decision["without"] == {"rules": "small"}

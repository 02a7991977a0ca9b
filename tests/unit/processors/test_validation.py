from dataclasses import replace

import pytest

from processors.checks.schema import Schema
from processors.outcome import Climb, Escalate, Pass, Retry
from processors.validation import Validation
from schemas.control import SwitchKind
from schemas.stages import Answer, Verdict


@pytest.fixture
def validate(desk, enveloped, routed, completion):
    """Give a function that validates a text as the answer at a rung."""

    async def run(text, rung=0, **head):
        envelope = routed(rung)
        answer = Answer(job=envelope.payload.job, decision=envelope.payload.decision, completion=completion(text=text))
        return await Validation(desk.catalog, desk.read_control)(enveloped(answer, rung=rung, **head))

    return run


async def test_a_valid_answer_passes_with_its_findings(validate):
    """The output is canonical JSON; both checks allow."""
    outcome = await validate('```json\n{ "intent": "a" }\n```')
    assert isinstance(outcome, Pass)
    assert outcome.product.output == '{"intent":"a"}'
    assert [(finding.check, finding.verdict) for finding in outcome.facts.findings] == [
        ("structure", Verdict.ALLOW),
        ("schema", Verdict.ALLOW),
    ]
    assert outcome.product.findings == outcome.facts.findings


async def test_what_is_no_json_climbs_with_the_reason(validate):
    """The schema is not asked about what can't be read."""
    outcome = await validate("I think it is a.")
    assert isinstance(outcome, Climb)
    assert "check structure: deny: not exactly one JSON value" in outcome.reason
    assert [finding.check for finding in outcome.facts.findings] == ["structure"]


async def test_what_violates_the_schema_climbs_with_its_pointer(validate):
    """The evidence names the field."""
    outcome = await validate('{"intent": "z"}')
    assert isinstance(outcome, Climb)
    assert "check schema: deny: /intent" in outcome.reason


async def test_on_the_last_rung_a_person_gets_what_could_be_read(validate):
    """Nothing unvalidated leaves; a person sees it as a proposal."""
    outcome = await validate('{"intent": "z"}', rung=2)
    assert isinstance(outcome, Escalate)
    assert outcome.proposed == '{"intent":"z"}'
    assert (await validate("nonsense", rung=2)).proposed is None


async def test_rungs_that_are_killed_are_no_way_up(validate, desk):
    """With every higher rung switched off a person decides at once."""
    desk.control = replace(desk.control, kills=frozenset({(SwitchKind.MODEL, "middle"), (SwitchKind.PROVIDER, "two")}))
    assert isinstance(await validate("nonsense"), Escalate)


async def test_a_check_that_breaks_is_unknown_and_not_a_pass(validate, desk, monkeypatch):
    """Unknown blocks as deny does, and says what broke."""

    def broken(self, value):
        raise RuntimeError("boom")

    monkeypatch.setattr(Schema, "violations", broken)
    outcome = await validate('{"intent": "a"}', rung=2)
    assert isinstance(outcome, Escalate)
    assert outcome.facts.findings[1].verdict is Verdict.UNKNOWN
    assert "RuntimeError: boom" in outcome.reason


async def test_a_text_workflow_takes_text_and_refuses_emptiness(validate, desk):
    """Without an output schema the answer is a JSON string."""
    desk.with_files(**{"output.schema.json": None})
    outcome = await validate('He said "hi"', workflow_version=desk.version)
    assert outcome.product.output == '"He said \\"hi\\""'
    assert isinstance(await validate("  ", workflow_version=desk.version), Climb)


async def test_a_version_that_is_not_here_waits(validate):
    """The bundle may be on its way."""
    assert isinstance(await validate('{"intent": "a"}', workflow_version="f" * 16), Retry)

"""Answers that do not fit their schema are asked for again, with what is wrong, where nobody else enforces it."""

import pytest

from processors.outcome import Pass
from processors.providers.scripted import answer

WRONG = answer('{"intent":"c"}')
FITS = answer('{"intent":"a"}')
IN_WORDS = 1
"""The rung whose model has no capability but probabilities."""


@pytest.mark.parametrize("wrong", ['{"intent":"c"}', "The intent is a.", '{"intent":"a"} {"intent":"b"}', "{"])
async def test_what_is_wrong_is_named_to_the_model(inference, routed, wrong):
    """The model reads its answer and what is wrong with it; both attempts are on record, the first as unfit."""
    run = inference(answer(wrong), FITS)
    outcome = await run.run(routed(IN_WORDS))
    assert isinstance(outcome, Pass)
    assert outcome.product.completion.text == '{"intent":"a"}'
    again = run.provider.requests[1].messages
    assert (again[-2].role, again[-2].content) == ("assistant", wrong)
    assert again[-1].content.startswith("This answer can't be used: ")
    first, second = outcome.facts.attempts
    assert (first.error_class, second.error_class) == ("unfit", None)
    assert first.error in again[-1].content
    assert first.cost_usd is not None


async def test_it_is_asked_once_and_then_left_to_validation(inference, routed):
    """What stays wrong goes on as it is: validation judges it, and the job climbs."""
    run = inference(WRONG)
    outcome = await run.run(routed(IN_WORDS))
    assert isinstance(outcome, Pass)
    assert outcome.product.completion.text == '{"intent":"c"}'
    assert [attempt.error_class for attempt in outcome.facts.attempts] == ["unfit", None]


async def test_where_the_provider_enforces_the_schema_nobody_looks_twice(inference, routed):
    """Such an answer goes on at once: checking it here would be work for nothing on every job."""
    outcome = await inference(WRONG, FITS).run(routed(0))
    assert len(outcome.facts.attempts) == 1


async def test_a_job_with_a_limit_of_cost_does_not_pay_twice(inference, routed, a_job):
    """Routing weighs what is left before anything more is spent."""
    outcome = await inference(WRONG, FITS).run(routed(IN_WORDS, job=a_job(max_cost_usd="1")))
    assert len(outcome.facts.attempts) == 1


@pytest.mark.parametrize(("times", "attempts"), [(0, 1), (2, 3)])
async def test_the_owner_says_how_often(inference, routed, desk, files, times, attempts):
    """Never, or up to twice in a round."""
    desk.with_files(**{"workflow.toml": f"amend_times = {times}\n" + files["workflow.toml"]})
    outcome = await inference(WRONG).run(routed(IN_WORDS))
    assert len(outcome.facts.attempts) == attempts

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from processors.outcome import Climb, Escalate, Pass, Reject, Retry
from processors.providers.errors import Break
from processors.providers.scripted import Canned, answer
from schemas.control import SwitchKind
from schemas.job import Snapshot
from schemas.stages import Status

GOOD = answer('{"intent":"a"}', model="tiny-1")


def refusal(status, code="", headers=None, message="no"):
    """An error response as providers write it."""
    body = b'{"error":{"code":"%s","message":"%s"}}' % (code.encode(), message.encode())
    return Canned(body, status, headers or {})


async def test_an_answer_passes_with_its_attempt_on_record(inference, routed):
    """One call: request, response, usage, cost, times and ids are kept whole."""
    place = inference(GOOD)
    outcome = await place.run(routed())
    assert isinstance(outcome, Pass)
    completion = outcome.product.completion
    assert (completion.text, completion.model, completion.tokens) == ('{"intent":"a"}', "tiny-1", ('{"intent":"a"}',))
    (attempt,) = outcome.facts.attempts
    assert attempt.attempt_id == completion.attempt_id == "acme/job-1/0/0/1"
    assert (attempt.provider, attempt.model_asked, attempt.http_status) == ("one", "tiny-1", 200)
    assert attempt.cost_usd == Decimal("0.000120000")
    assert attempt.error_class is None
    assert '"messages"' in attempt.request
    assert '"choices"' in attempt.response
    assert attempt.prompt_sha256 == completion.prompt_sha256


async def test_the_request_follows_rung_and_model(inference, routed, desk):
    """Parameters, limits, schema and probabilities are asked for as far as the model can give them."""
    changed = desk.settings_text.replace(
        '"tiny"', '"tiny"\nparams = { temperature = 0.5, max_tokens = 9, top_logprobs = 2 }\ntotal_timeout_s = 3'
    )
    desk.with_files(**{"workflow.toml": changed})
    place = inference(GOOD)
    await place.run(routed(workflow_version=desk.version))
    await place.run(routed(2, workflow_version=desk.version))
    first, last = place.provider.requests
    assert (first.temperature, first.max_tokens, first.top_logprobs, first.total_timeout_s) == (0.5, 9, 2, 3)
    assert first.logprobs
    assert first.output_schema is not None
    assert (last.temperature, last.max_tokens, last.logprobs, last.output_schema) == (None, 100, False, None)
    assert last.total_timeout_s == 60
    assert first.left_s == 3600


async def test_a_hiccup_is_retried_in_place_with_growing_waits(inference, routed):
    """Two retries, half a second doubling; each attempt is a record of its own, numbered from 1."""
    place = inference(refusal(500), Canned(breaks=Break.NOT_CONNECTED), GOOD)
    outcome = await place.run(routed(round=1))
    assert isinstance(outcome, Pass)
    assert place.waits == [0.5, 1.0]
    assert [attempt.attempt_id for attempt in outcome.facts.attempts] == [
        "acme/job-1/0/1/1",
        "acme/job-1/0/1/2",
        "acme/job-1/0/1/3",
    ]
    assert [attempt.error_class for attempt in outcome.facts.attempts] == ["retryable_here", "retryable_here", None]


async def test_the_wait_is_jittered_down_to_nothing(inference, routed):
    """Full jitter: a chance of zero waits zero."""
    place = inference(refusal(500), GOOD)
    place.run = replace(place.run, rng=lambda: 0.0)
    assert isinstance(await place.run(routed()), Pass)
    assert place.waits == [0.0]


async def test_what_never_reached_a_model_costs_nothing_and_the_rest_is_unknown(inference, routed):
    """Refused: zero, known. Cut while working: unknown, with the reason."""
    place = inference(refusal(429, "rate_limit_exceeded"), Canned(breaks=Break.CUT), GOOD)
    refused, cut, good = (await place.run(routed())).facts.attempts
    assert (refused.cost_usd, refused.usage.input_tokens) == (Decimal(0), 0)
    assert (cut.cost_usd, cut.cost_unknown_because) == (None, "the provider reported no usage")
    assert cut.usage.input_tokens is None
    assert good.cost_usd > 0


async def test_retry_after_is_honoured_in_place_when_it_is_short(inference, routed):
    """The provider's own wait replaces ours."""
    place = inference(refusal(429, headers={"retry-after": "3"}), GOOD)
    assert isinstance(await place.run(routed()), Pass)
    assert place.waits == [3.0]


async def test_a_long_retry_after_becomes_another_round(inference, routed):
    """No slot is held for longer than five seconds: the job waits elsewhere."""
    place = inference(refusal(429, headers={"retry-after": "30"}))
    outcome = await place.run(routed())
    assert isinstance(outcome, Retry)
    assert outcome.after_s == 30
    assert place.waits == []
    assert len(outcome.facts.attempts) == 1


async def test_a_provider_that_stays_down_is_another_round(inference, routed):
    """Three attempts, then ten seconds."""
    place = inference(refusal(503))
    outcome = await place.run(routed())
    assert isinstance(outcome, Retry)
    assert outcome.after_s == 10
    assert len(outcome.facts.attempts) == 3


async def test_after_two_rounds_another_model_is_tried(inference, routed, desk):
    """A higher rung with another model ends the waiting; without one the waiting goes on until the deadline."""
    assert isinstance(await inference(refusal(503)).run(routed(round=2)), Climb)
    kills = frozenset({(SwitchKind.MODEL, "middle"), (SwitchKind.MODEL, "grand")})
    desk.control = replace(desk.control, kills=kills)
    assert isinstance(await inference(refusal(503)).run(routed(round=2)), Retry)
    assert isinstance(await inference(refusal(503)).run(routed(2, round=9)), Retry)


async def test_without_time_for_another_round_the_job_climbs_or_expires(inference, routed, clock):
    """Nothing is retried past its deadline."""
    near = clock.now + timedelta(seconds=9)
    assert isinstance(await inference(refusal(503)).run(routed(deadline=near)), Climb)
    outcome = await inference(refusal(503)).run(routed(2, deadline=clock.now + timedelta(seconds=9)))
    assert isinstance(outcome, Reject)
    assert outcome.status is Status.EXPIRED


async def test_a_deadline_that_passed_makes_no_call(inference, routed, clock):
    """Not even the first attempt starts."""
    place = inference(GOOD)
    outcome = await place.run(routed(deadline=clock.now))
    assert (outcome.status, place.provider.requests) == (Status.EXPIRED, [])


@pytest.mark.parametrize(
    ("canned", "error_class", "climbs"),
    [
        (refusal(400, "invalid_request_error"), "ours_to_fix", True),
        (refusal(404, "model_not_found"), "ours_to_fix", True),
        (refusal(401, "invalid_api_key"), "credential_dead", True),
        (refusal(429, "insufficient_quota"), "credential_dead", True),
        (refusal(400, "context_length_exceeded"), "context_too_long", True),
        (answer("cut", finish_reason="length"), "truncated", True),
        (refusal(400, "content_filter"), "content_refused", False),
        (answer("", finish_reason="content_filter"), "content_refused", False),
        (answer("", message={"content": None, "refusal": "I can't"}), "content_refused", False),
    ],
)
async def test_what_waiting_does_not_mend_climbs_or_goes_to_a_person(inference, routed, canned, error_class, climbs):
    """No attempt is repeated; a refusal of content is for a person, the rest for a higher rung while there is one."""
    outcome = await inference(canned).run(routed())
    assert isinstance(outcome, Climb if climbs else Escalate)
    assert [attempt.error_class for attempt in outcome.facts.attempts] == [error_class]
    last = await inference(canned).run(routed(2))
    assert isinstance(last, Escalate)
    assert last.reason.startswith(error_class)


async def test_a_dead_key_is_dead_for_all_models_of_its_provider(inference, routed, desk):
    """With nothing but the same provider above, a person is told at once."""
    desk.control = replace(desk.control, kills=frozenset({(SwitchKind.PROVIDER, "two")}))
    assert isinstance(await inference(refusal(401)).run(routed()), Escalate)


async def test_an_unusable_answer_that_was_paid_for_has_its_cost(inference, routed):
    """A truncated answer's tokens were used."""
    outcome = await inference(answer("cut", finish_reason="length")).run(routed())
    assert outcome.facts.attempts[0].cost_usd == Decimal("0.000120000")


@pytest.mark.parametrize(
    "switch",
    [
        (SwitchKind.MODEL, "tiny"),
        (SwitchKind.PROVIDER, "one"),
        (SwitchKind.WORKFLOW, "sorting"),
        (SwitchKind.TENANT, "acme"),
    ],
)
async def test_a_switch_thrown_meanwhile_sends_the_job_back_to_routing(inference, routed, desk, switch):
    """Between routing and the call, and between two attempts."""
    place = inference(GOOD)
    desk.control = replace(desk.control, kills=frozenset({switch}))
    assert await place.run(routed()) == Retry(f"{switch[0]} {switch[1]} is killed")
    assert place.provider.requests == []

    def kill(request):
        desk.control = replace(desk.control, kills=frozenset({switch}))
        return refusal(500)

    desk.control = replace(desk.control, kills=frozenset())
    outcome = await inference(kill).run(routed())
    assert isinstance(outcome, Retry)
    assert outcome.after_s == 0
    assert len(outcome.facts.attempts) == 1


async def test_a_job_with_a_limit_of_cost_repeats_nothing_that_may_have_cost(inference, routed, a_job):
    """Routing weighs the money before another attempt; a call that reached no model is repeated at once."""
    capped = a_job(max_cost_usd=Decimal(1))
    outcome = await inference(Canned(breaks=Break.CUT), GOOD).run(routed(job=capped))
    assert isinstance(outcome, Retry)
    assert len(outcome.facts.attempts) == 1
    assert isinstance(await inference(Canned(breaks=Break.NOT_CONNECTED), GOOD).run(routed(job=capped)), Pass)


async def test_a_snapshot_that_expires_between_attempts_ends_the_job(inference, routed, a_job, clock):
    """No further money goes into old facts."""
    snapshot = Snapshot(
        id="s", version="1", taken_at=clock.now, valid_until=clock.now + timedelta(seconds=0.4), sha256="0" * 64
    )
    outcome = await inference(refusal(500), GOOD).run(routed(job=a_job(context=snapshot)))
    assert outcome.status is Status.STALE_CONTEXT
    assert len(outcome.facts.attempts) == 1


async def test_a_prompt_that_can_not_be_written_goes_to_a_person(inference, routed, desk):
    """The owner must mend the template; no call is made."""
    desk.with_files(**{"prompts/small/user.md": "{{ input.n }}"})
    place = inference(GOOD)
    outcome = await place.run(routed(workflow_version=desk.version))
    assert isinstance(outcome, Escalate)
    assert "prompts/small/user.md:1" in outcome.reason
    assert place.provider.requests == []


async def test_a_rung_that_is_not_the_routed_variant_goes_to_a_person(inference, routed):
    """Head and decision must agree."""
    outcome = await inference(GOOD).run(routed().headed(rung=1))
    assert isinstance(outcome, Escalate)
    assert "is not variant 'small'" in outcome.reason


async def test_a_version_that_is_not_here_waits(inference, routed):
    """The bundle may be on its way."""
    assert isinstance(await inference(GOOD).run(routed(workflow_version="f" * 16)), Retry)


@pytest.fixture
def elsewhere(desk):
    """The workflow with the model `grand` as fallback of its first rung; the settings may be given more."""

    def make(more=""):
        told = f'model = "tiny"\nfallbacks = ["grand"]\n{more}'
        desk.with_files(**{"workflow.toml": desk.settings_text.replace('model = "tiny"', told)})
        return desk.version

    return make


def _asked(outcome):
    return [(attempt.provider, attempt.model_asked) for attempt in outcome.facts.attempts]


async def test_a_limited_model_is_asked_elsewhere_at_once(inference, routed, elsewhere):
    """Nobody waits; both calls are on record, the second where it was made, and priced there."""
    place = inference(refusal(429, headers={"retry-after": "3"}), GOOD)
    outcome = await place.run(routed(workflow_version=elsewhere()))
    assert isinstance(outcome, Pass)
    assert place.waits == []
    assert _asked(outcome) == [("one", "tiny-1"), ("two", "grand-1")]


async def test_where_a_limit_is_waited_for_the_fallback_is_left_alone(inference, routed, elsewhere):
    """With on_rate_limit = park the job's turn comes at its own provider."""
    place = inference(refusal(429, headers={"retry-after": "3"}), GOOD)
    outcome = await place.run(routed(workflow_version=elsewhere('on_rate_limit = "park"')))
    assert place.waits == [3.0]
    assert _asked(outcome) == [("one", "tiny-1")] * 2


async def test_when_all_are_limited_the_job_waits_for_the_first_that_is_back(inference, routed, elsewhere):
    """Of 40 and 20 seconds it is 20."""
    place = inference(refusal(429, headers={"retry-after": "20"}), refusal(429, headers={"retry-after": "40"}))
    outcome = await place.run(routed(workflow_version=elsewhere()))
    assert isinstance(outcome, Retry)
    assert outcome.after_s == 20


async def test_a_target_that_fails_is_repeated_and_then_left(inference, routed, elsewhere):
    """Three attempts at one, then the other; never more than three at each."""
    place = inference(*[refusal(500)] * 6, GOOD)
    outcome = await place.run(routed(workflow_version=elsewhere()))
    assert isinstance(outcome, Retry)
    assert _asked(outcome) == [("one", "tiny-1")] * 3 + [("two", "grand-1")] * 3


async def test_a_killed_model_is_passed_over(inference, routed, elsewhere, desk):
    """With the rung's own model killed its fallback serves; with both killed the job goes back to routing."""
    version = elsewhere()
    desk.control = replace(desk.control, kills=frozenset({(SwitchKind.MODEL, "tiny")}))
    outcome = await inference(GOOD).run(routed(workflow_version=version))
    assert _asked(outcome) == [("two", "grand-1")]
    both = frozenset({(SwitchKind.MODEL, "tiny"), (SwitchKind.MODEL, "grand")})
    desk.control = replace(desk.control, kills=both)
    assert isinstance(await inference(GOOD).run(routed(workflow_version=version)), Retry)


async def test_what_was_not_attempted_is_no_attempt(inference, routed):
    """A call that no slot was free for leaves no attempt, and is waited for elsewhere."""
    outcome = await inference(Canned(breaks=Break.NO_SLOT)).run(routed())
    assert isinstance(outcome, Retry)
    assert outcome.facts.attempts == ()
    assert "no_slot" in outcome.reason or "no slot" in outcome.reason


async def test_what_can_not_fit_is_not_sent(inference, routed, desk, a_job):
    """A prompt beyond the model's window climbs to a model with a larger one, without a call that must fail."""
    tiny = desk.models.models["tiny"].model_copy(update={"context_window": 500})
    desk.catalog.models = desk.models.model_copy(update={"models": {**desk.models.models, "tiny": tiny}})
    run = inference(answer('{"intent":"a"}'))
    outcome = await run.run(routed(job=a_job({"text": "x" * 4_000})))
    assert isinstance(outcome, Climb)
    assert outcome.reason.startswith("context_too_long: the prompt has 4")
    assert (run.provider.requests, outcome.facts.attempts) == ([], ())
    assert isinstance(await run.run(routed(job=a_job({"text": "x" * 2_000}))), Pass)


async def test_personal_data_is_kept_from_fallbacks_that_are_elsewhere(inference, routed, desk, a_job):
    """Where the rung's own model is down, a fallback that is not self-hosted is not asked: no call leaves the house."""
    one = desk.models.providers["one"].model_copy(update={"self_hosted": True})
    desk.catalog.models = desk.models.model_copy(update={"providers": {**desk.models.providers, "one": one}})
    text = desk.settings_text.replace('"tiny"', '"tiny"\nfallbacks = ["grand"]')
    desk.with_files(**{"workflow.toml": text})
    down = inference(refusal(401), GOOD)
    await down.run(routed(job=a_job(data_class="personal"), workflow_version=desk.version))
    assert {request.model.id for request in down.provider.requests} == {"tiny-1"}
    free = inference(refusal(401), GOOD)
    await free.run(routed(workflow_version=desk.version))
    assert {request.model.id for request in free.provider.requests} == {"tiny-1", "grand-1"}


async def test_no_call_is_made_to_a_model_that_may_not_see_the_data(inference, routed, a_job):
    """Whatever routing said, personal data does not leave the house: a person decides."""
    place = inference(GOOD)
    outcome = await place.run(routed(job=a_job(data_class="personal")))
    assert outcome == Escalate("model tiny is not self-hosted, and the data is personal")
    assert place.provider.requests == []


async def test_personal_data_waits_for_the_one_model_that_may_see_it(inference, routed, desk, a_job):
    """A self-hosted fallback that is killed after the job was routed is waited for, and asked when it is back."""
    providers = desk.models.providers
    house = providers[desk.models.models["grand"].provider].model_copy(update={"self_hosted": True})
    update = {"providers": {**providers, desk.models.models["grand"].provider: house}}
    desk.catalog.models = desk.models.model_copy(update=update)
    desk.with_files(**{"workflow.toml": desk.settings_text.replace('"tiny"', '"tiny"\nfallbacks = ["grand"]')})
    personal = routed(job=a_job(data_class="personal"), workflow_version=desk.version)
    free, place = desk.control, inference(GOOD)
    desk.control = replace(free, kills=frozenset({(SwitchKind.MODEL, "grand")}))
    outcome = await place.run(personal)
    assert isinstance(outcome, Retry)
    assert (outcome.reason, place.provider.requests) == ("model grand is killed", [])
    desk.control = free
    await place.run(personal)
    assert [request.model.id for request in place.provider.requests] == ["grand-1"]

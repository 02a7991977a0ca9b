import json

import pytest

from processors.providers.errors import Break, ErrorClass
from processors.providers.port import Failure, Reply
from processors.providers.scripted import Canned, answer
from schemas.stages import Usage


async def test_an_answer_comes_back_as_a_reply(provider, ask):
    """Text, probabilities, usage, and both raw texts."""
    reply = await provider(answer("Hi", model="m-1-2026", probability=0.5)).complete(ask())
    assert isinstance(reply, Reply)
    assert (reply.text, reply.tokens) == ("Hi", ("Hi",))
    assert reply.logprobs == pytest.approx((-0.6931,), abs=1e-3)
    assert reply.exchange.usage == Usage(input_tokens=100, output_tokens=10)
    assert (reply.exchange.model, reply.exchange.http_status) == ("m-1-2026", 200)
    asked = json.loads(reply.exchange.request)
    assert (asked["model"], asked["messages"]) == ("m-1", [{"role": "user", "content": "hello"}])


@pytest.mark.parametrize(
    ("canned", "error_class", "wait", "ran"),
    [
        (Canned(b'{"error":{"message":"slow down"}}', 429, {"retry-after": "2"}), ErrorClass.WAIT_UNTIL, 2.0, False),
        (Canned(b"{}", 503, {"retry-after": "90"}), ErrorClass.RETRYABLE_HERE, 60.0, True),
        (Canned(b"oops", 500), ErrorClass.RETRYABLE_HERE, None, True),
        (Canned(b"{}", 401), ErrorClass.CREDENTIAL_DEAD, None, False),
        (Canned(b'{"error":{"code":"context_length_exceeded"}}', 400), ErrorClass.CONTEXT_TOO_LONG, None, False),
        (Canned(b'{"choices":[{"mess'), ErrorClass.RETRYABLE_HERE, None, True),
        (Canned(breaks=Break.CUT), ErrorClass.RETRYABLE_HERE, None, True),
        (answer("x", finish_reason="length"), ErrorClass.TRUNCATED, None, True),
        (answer("x", finish_reason="content_filter"), ErrorClass.CONTENT_REFUSED, None, True),
    ],
)
async def test_a_failure_comes_back_classified(provider, ask, canned, error_class, wait, ran):
    """Nothing that can be expected is raised."""
    failure = await provider(canned).complete(ask())
    assert isinstance(failure, Failure)
    assert (failure.error_class, failure.retry_after_s, failure.may_have_run) == (error_class, wait, ran)
    assert json.loads(failure.exchange.request)["model"] == "m-1"


@pytest.mark.parametrize("limits", [{"total_timeout_s": 0.05}, {"left_s": 0.05}])
async def test_a_call_ends_at_its_time_out_or_the_jobs_deadline(provider, ask, limits):
    """The shorter of the two counts."""
    failure = await provider(Canned(answer("late").body, after_s=5)).complete(ask(**limits))
    assert isinstance(failure, Failure)
    assert failure.error_class is ErrorClass.RETRYABLE_ELSEWHERE
    assert "no answer within 0.05 s" in failure.error


async def test_a_provider_serves_again_after_a_failure(provider, ask):
    """A break leaves nothing behind that harms the next call."""
    for canned in (Canned(breaks=Break.CUT), Canned(answer("late").body, after_s=5), Canned(b"", 500)):
        assert isinstance(await provider(canned).complete(ask(total_timeout_s=0.2)), Failure)
    assert isinstance(await provider(answer("Hi")).complete(ask()), Reply)

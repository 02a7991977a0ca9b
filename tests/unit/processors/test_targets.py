import asyncio

import pytest

from processors.models import Model
from processors.policy.breaker import Health, Limits
from processors.providers.errors import Break, ErrorClass
from processors.providers.guarded import GuardedProvider, health_of
from processors.providers.keys import FIRST_REST_S, REFUSED_S, Keys
from processors.providers.port import CompletionRequest, Exchange, Failure, Reply
from processors.providers.scripted import Canned, ScriptedProvider, answer
from processors.providers.slots import Slots


def _request(model="m-1", *, repeats=False):
    return CompletionRequest(
        attempt_id="acme/job/0/0/1",
        model=Model(provider="p", id=model, tier="A"),
        messages=(),
        max_tokens=5,
        total_timeout_s=5.0,
        left_s=10.0,
        repeats=repeats,
    )


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


async def test_a_model_that_fails_is_left_alone_and_tried_again():
    """Its breaker opens after five failures, and no call is made until a probe may be; its changes are news, once."""
    clock, canned = Clock(), [Canned(b"", 500)]
    inner = ScriptedProvider(lambda _: canned[0])
    provider = GuardedProvider("p", inner, clock)
    for _ in range(5):
        assert (await provider.complete(_request())).attempted
    stopped = await provider.complete(_request())
    assert (stopped.attempted, stopped.may_have_run, stopped.retry_after_s) == (False, False, 30.0)
    assert len(inner.requests) == 5
    assert isinstance(await provider.complete(_request(model="m-2")), Failure)  # a breaker of its own
    assert len(inner.requests) == 6
    assert [(one.target, one.after) for one in provider.news()] == [("model m-1", "open")]
    assert provider.news() == ()
    clock.now, canned[0] = 30.0, answer("Hi")
    assert isinstance(await provider.complete(_request()), Reply)
    assert [one.after for one in provider.news()] == ["half_open", "closed"]


async def test_a_probe_that_is_cancelled_frees_its_place():
    """A job that is taken away in mid-probe leaves nobody locked out."""
    clock, canned = Clock(), [Canned(b"", 500)]
    provider = GuardedProvider("p", ScriptedProvider(lambda _: canned[0]), clock, limits=Limits(in_succession=1))
    await provider.complete(_request())
    clock.now, canned[0] = 30.0, Canned(answer("Hi").body, after_s=60)
    probe = asyncio.create_task(provider.complete(_request()))
    await asyncio.sleep(0)
    assert not (await provider.complete(_request())).attempted
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    canned[0] = answer("Hi")
    assert isinstance(await provider.complete(_request()), Reply)


async def test_repetitions_have_a_budget():
    """A fifth of the first attempts, beyond the ten that are free."""
    provider = GuardedProvider("p", ScriptedProvider(lambda _: answer("Hi")), Clock())
    for repeats in [False] * 5 + [True] * 2:
        await provider.complete(_request(repeats=repeats))
    assert [provider.may_repeat() for _ in range(12)] == [True] * 11 + [False]


@pytest.mark.parametrize(
    ("status", "error_class", "health"),
    [
        (500, ErrorClass.RETRYABLE_HERE, Health.BAD),
        (None, ErrorClass.RETRYABLE_ELSEWHERE, Health.BAD),
        (200, ErrorClass.RETRYABLE_HERE, Health.BAD),
        (200, ErrorClass.RETRYABLE_ELSEWHERE, Health.NEUTRAL),
        (429, ErrorClass.WAIT_UNTIL, Health.NEUTRAL),
        (400, ErrorClass.OURS_TO_FIX, Health.NEUTRAL),
        (401, ErrorClass.CREDENTIAL_DEAD, Health.NEUTRAL),
        (200, ErrorClass.CONTENT_REFUSED, Health.NEUTRAL),
        (200, ErrorClass.TRUNCATED, Health.NEUTRAL),
    ],
)
def test_what_a_failure_says_about_its_target(status, error_class, health):
    """A breaker hears of a target's own failures only."""
    assert health_of(Failure(Exchange("", http_status=status), error_class, ""), 0.1, None) is health


def test_slow_is_what_the_setting_says():
    """An answer after the limit counts as slow, without a limit none does."""
    reply = Reply(Exchange(""), "Hi")
    assert [health_of(reply, 3.0, limit) for limit in (None, 2.0, 4.0)] == [Health.GOOD, Health.SLOW, Health.GOOD]


def test_keys_are_used_in_turn_and_rest():
    """A limited key rests as long as it is told, or 5 s, doubling; the others go on."""
    keys = Keys(("a", "b"))
    first, second, third = (keys.pick(0.0) for _ in range(3))
    assert [one.text for one in (first, second, third)] == ["a", "b", "a"]
    assert first.limited(7.0, 0.0) == 7.0
    assert {keys.pick(1.0).text for _ in range(3)} == {"b"}
    assert second.limited(None, 1.0) == FIRST_REST_S
    assert keys.pick(5.9) is None
    assert keys.wait_s(5.9) == pytest.approx(0.1)
    assert second.limited(None, 6.0) == 2 * FIRST_REST_S
    assert keys.pick(7.0).text == "a"
    second.answered()
    assert second.limited(None, 100.0) == FIRST_REST_S


def test_calls_in_flight_do_not_double_a_keys_rest():
    """Ten refusals of one burst are one."""
    key = Keys(("a",)).pick(0.0)
    assert [key.limited(None, 0.5) for _ in range(10)] == [FIRST_REST_S] * 10


def test_a_refused_key_is_left_alone_for_minutes():
    """And the provider is dead while all of its keys are."""
    keys = Keys(("a", "b"))
    for _ in range(2):
        assert not keys.dead
        assert keys.pick(0.0).refused(0.0) == REFUSED_S
    assert keys.dead
    assert keys.pick(1.0) is None
    keys.pick(REFUSED_S).answered()
    assert not keys.dead


async def test_complaints_make_less_room_and_answers_more():
    """A complaint takes three tenths, those in flight with it nothing; as many answers as the limit give one more."""
    slots = Slots(10)
    for _ in range(5):
        slots.was_too_much()
    assert slots.limit == 7
    for _ in range(5 + 7):
        slots.went_well()
    assert slots.limit == 8
    for _ in range(200):
        slots.was_too_much()
    assert slots.limit == 1


async def test_slots_are_taken_in_turn_and_none_is_lost():
    """Who waits is served in order; who gives up waiting leaves its place to the next."""
    slots = Slots(1)
    assert slots.take_free()
    waiting = [asyncio.create_task(slots.take()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    slots.give_back()
    await waiting[1]
    waiting[2].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    slots.give_back()
    assert slots.take_free()


async def test_a_slot_given_to_who_was_cancelled_goes_on():
    """A turn that came in the moment of its cancellation is not lost."""
    slots = Slots(1)
    await slots.take()
    waiting = asyncio.create_task(slots.take())
    await asyncio.sleep(0)
    slots.give_back()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert slots.take_free()


async def test_breaks_are_what_the_network_did():
    """A connection that nobody took is the target's failure too."""
    clock = Clock()
    provider = GuardedProvider("p", ScriptedProvider(lambda _: Canned(breaks=Break.NOT_CONNECTED)), clock)
    for _ in range(5):
        await provider.complete(_request())
    assert [one.after for one in provider.news()] == ["open"]

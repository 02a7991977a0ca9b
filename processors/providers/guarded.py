"""A provider with as many slots as it stands, a breaker for each of its models, and a budget for repetitions."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from processors.policy.breaker import Breaker, Health, Limits, State
from processors.policy.retry_budget import RetryBudget
from processors.providers.errors import Break, ErrorClass
from processors.providers.exchanges import broken
from processors.providers.port import Answered, CompletionRequest, Exchange, Failure, Provider, Reply
from processors.providers.slots import Slots
from schemas.stages import Transition

_OK: Final = 200
_NO_CALL: Final = Exchange("")


class GuardedProvider:
    """Calls as the provider within does, at most so many at once, and not a model whose breaker is open.

    `timer` counts seconds. A call that takes longer than `slow_s` counts as slow.
    """

    def __init__(
        self,
        name: str,
        within: Provider,
        timer: Callable[[], float],
        max_in_flight: int = 64,
        slow_s: float | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._name = name
        self._within = within
        self._timer = timer
        self._slow_s = slow_s
        self._limits = limits or Limits()
        self._slots = Slots(max_in_flight)
        self._breakers: dict[str, Breaker] = {}
        self._budget = RetryBudget()
        self._news: list[Transition] = []

    async def complete(self, request: CompletionRequest) -> Answered:
        """One call, once; without a call where no slot becomes free in time or the model's breaker is open."""
        queue_s = await self._slot(request.left_s)
        if queue_s is None:
            return broken("", Break.NO_SLOT, f"all {self._slots.limit} slots of {self._name} were taken for too long")
        try:
            # Only who has a slot asks for leave: while it waited for one the breaker may have opened.
            breaker = self._breaker(request.model.id)
            if (wait_s := breaker.wait_s(self._timer())) > 0:
                said = (
                    f"calls of {request.model.id} at {self._name} are stopped for {wait_s:.1f} s: its breaker is open"
                )
                return Failure(_NO_CALL, ErrorClass.RETRYABLE_ELSEWHERE, said, wait_s, False, attempted=False)
            return await self._guarded(breaker, _after(request, queue_s))
        finally:
            self._slots.give_back()

    async def _slot(self, left_s: float) -> float | None:
        """Take a slot; the seconds that it took, nothing if none became free in time."""
        if self._slots.take_free():
            return 0.0
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(left_s):
                await self._slots.take()
        except TimeoutError:
            return None
        return clock() - began

    async def _guarded(self, breaker: Breaker, request: CompletionRequest) -> Answered:
        """The call, and what it says about the target and about how many calls are too many."""
        if not request.repeats:
            self._budget.first()
        began, health = self._timer(), Health.NEUTRAL
        try:
            answered = await self._within.complete(request)
            health = health_of(answered, self._timer() - began, self._slow_s)
        finally:
            breaker.ended(health, self._timer())
        if isinstance(answered, Reply):
            self._slots.went_well()
        elif health is Health.BAD or answered.error_class is ErrorClass.WAIT_UNTIL:
            self._slots.was_too_much()
        return answered

    def may_repeat(self) -> bool:
        """Take leave to call once more for a job whose call failed."""
        return self._budget.repeat()

    def news(self) -> tuple[Transition, ...]:
        """What has changed since this was asked last, here and within."""
        told, self._news = tuple(self._news), []
        return told + self._within.news()

    def _breaker(self, model: str) -> Breaker:
        if (breaker := self._breakers.get(model)) is None:

            def told(before: State, after: State, why: str) -> None:
                self._news.append(transition(self._name, f"model {model}", before.value, after.value, why))

            breaker = self._breakers[model] = Breaker(self._limits, told)
        return breaker

    async def aclose(self) -> None:
        """Let go of connections."""
        await self._within.aclose()


def _after(request: CompletionRequest, queue_s: float) -> CompletionRequest:
    """The request as it is after so long a wait."""
    if not queue_s:
        return request
    return replace(request, left_s=request.left_s - queue_s, queue_ms=queue_s * 1000)


def transition(provider: str, target: str, before: str, after: str, why: str) -> Transition:
    """A change of a target."""
    return Transition(provider=provider, target=target, before=before, after=after, why=why)


def health_of(answered: Answered, took_s: float, slow_s: float | None) -> Health:
    """What a call says about its target.

    Bad is what the target failed at: no connection, no answer in time, an answer cut off, its own errors. A rate limit,
    a refusal, a mistake of ours and a dead key say nothing about it.
    """
    if isinstance(answered, Failure):
        failed = answered.attempted and (
            answered.error_class is ErrorClass.RETRYABLE_HERE
            or (answered.error_class is ErrorClass.RETRYABLE_ELSEWHERE and answered.exchange.http_status != _OK)
        )
        return Health.BAD if failed else Health.NEUTRAL
    return Health.SLOW if slow_s is not None and took_s > slow_s else Health.GOOD

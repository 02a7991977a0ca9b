"""Publishes the demo's messages at a steady rate and collects what comes of each."""

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from penstock.client import Client, JobResult, NoResult, NotAcknowledged, Options
from penstock.local.banking77 import Message
from penstock.settings import Settings

WORKFLOW: Final = "banking_intent"


@dataclass(frozen=True, slots=True)
class Asked:
    """A message of the demo and the job that it became."""

    job_id: str
    message: Message

    def right(self, result: JobResult) -> bool:
        """Whether the answer (or, of an open job, the proposal) is the label that people gave."""
        answer = result.proposed if result.open else result.output
        return isinstance(answer, dict) and answer.get("intent") == self.message.label


@dataclass
class Tally:
    """How far the demo is. `doubled` are jobs with more than one terminal record: there must be none."""

    tenant: str
    asked: tuple[Asked, ...]
    published: int = 0
    results: dict[str, JobResult] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)

    @property
    def by_status(self) -> Counter[str]:
        """Jobs by what became of them, the open ones under `escalated`."""
        return Counter(result.status for result in self.results.values())

    @property
    def in_flight(self) -> int:
        """Jobs published of which nothing is known yet."""
        return self.published - len(self.results) - len(self.missing)


def choose(messages: tuple[Message, ...], jobs: int) -> Tally:
    """The demo's jobs: always the same messages in the same order, each time under ids of their own."""
    tenant = f"demo-{uuid.uuid4().hex[:6]}"
    chosen = random.Random(0).sample(messages, jobs)  # noqa: S311 -- a repeatable choice, not a secret
    asked = tuple(Asked(f"{tenant}-{place:05}", message) for place, message in enumerate(chosen))
    return Tally(tenant, asked)


async def feed(settings: Settings, tally: Tally, rate: float, timeout_s: float, moved: Callable[[], None]) -> None:
    """Publish every message and wait for what comes of it; `moved` is called whenever the tally has changed.

    Raises:
        BrokerAway: the broker does not answer.
    """
    options = Options(remember=max(10_000, 4 * len(tally.asked)))
    loop = asyncio.get_running_loop()
    async with Client(settings=settings, options=options) as client:
        began = loop.time()
        async with asyncio.TaskGroup() as tasks:
            for place, asked in enumerate(tally.asked):
                await asyncio.sleep(max(0.0, began + place / rate - loop.time()))
                tasks.create_task(_one(client, tally, asked, timeout_s, moved))
        await _look_for_doubles(client, tally)


async def _one(client: Client, tally: Tally, asked: Asked, timeout_s: float, moved: Callable[[], None]) -> None:
    value = {"text": asked.message.text}
    try:
        await client.submit(WORKFLOW, value, job_id=asked.job_id, tenant=tally.tenant)
        tally.published += 1
        moved()
        tally.results[asked.job_id] = await client.wait(asked.job_id, timeout_s, tenant=tally.tenant)
    except (NoResult, NotAcknowledged):
        tally.missing.append(asked.job_id)
    moved()


async def _look_for_doubles(client: Client, tally: Tally) -> None:
    """Every record that arrived is looked at again: a second one about a job would be a broken promise."""
    seen: Counter[str] = Counter()
    async for result in client.results(idle_s=0.5):
        if result.tenant == tally.tenant:
            seen[result.job_id] += 1
    tally.doubled = [job_id for job_id, count in seen.items() if count > 1]

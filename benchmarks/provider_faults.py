"""What becomes of jobs when providers misbehave: scripted faults over real HTTP, through the whole attempt path.

Two targets serve one model. In each scenario the first misbehaves by a script, in one also the second, while jobs
arrive at a steady rate; a job that inference sends away to wait comes back after as long as it was told, divided by
`SPEED`, as are the times of breakers and keys, so that a scenario takes seconds. Ends with 1 if a job is lost, tried
past its deadline, or tried more often than it may be, or if an open breaker lets calls through.

Wasted calls gave no answer; wrong ones went to the first target while its breaker was open; tries are the most attempts
of one job in one round; "back after" is how long after the fault's end the first target was asked again.
"""

import argparse
import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson
from aiohttp import web
from lab.upstream import ANSWER, completion
from rich.console import Console
from rich.table import Table

from processors.bundle import SETTINGS, read_bundle
from processors.catalog import Catalog
from processors.control import ControlState
from processors.inference import Inference
from processors.models import read_models
from processors.outcome import Climb, Escalate, Pass, Reject, Retry
from processors.policy.breaker import Limits
from processors.providers.guarded import GuardedProvider
from processors.providers.http import HttpProvider
from processors.providers.port import Provider
from schemas.base import json_text
from schemas.envelope import Envelope, Head, Origin
from schemas.job import Job
from schemas.stages import Decision, Routed, Tier

ROOT: Final = Path(__file__).parents[1]
SPEED: Final = 10.0
FAULT_S: Final = 4.0
LASTS_S: Final = 9.0
RATE: Final = 60.0
DEADLINE_S: Final = 300.0
ON_THE_WAY_S: Final = 1.0
"""Seconds that a call may have been on its way when the breaker opened; a starved machine takes its time."""
MOST_ATTEMPTS: Final = 6
"""In one round: three at each of two targets."""
MODELS: Final = """
[providers.first]
base_url = "{first}"
total_timeout_s = 2
first_token_timeout_s = 1
between_tokens_timeout_s = 0.5
[providers.second]
base_url = "{second}"
total_timeout_s = 2
[models.here]
provider = "first"
id = "m"
tier = "A"
prices = {{ input_usd = 1, output_usd = 1 }}
[models.there]
provider = "second"
id = "m"
tier = "A"
prices = {{ input_usd = 1, output_usd = 1 }}
"""
Says = Callable[["Target", web.Request, float], Awaitable[web.StreamResponse]]


async def good(target: "Target", request: web.Request, _: float) -> web.StreamResponse:
    """Answer, as a stream."""
    await asyncio.sleep(0.02)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionResetError):  # whoever asked has given up
        for event in target.events:
            await response.write(event)
    return response


async def limited(_: "Target", __: web.Request, ___: float) -> web.StreamResponse:
    """Refuse for a second."""
    return web.json_response({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "1"})


async def failing(_: "Target", __: web.Request, ___: float) -> web.StreamResponse:
    """Fail."""
    return web.json_response({"error": {"message": "oops"}}, status=503)


async def slow(target: "Target", request: web.Request, now_s: float) -> web.StreamResponse:
    """Answer, too late to be of use."""
    await asyncio.sleep(1.5)
    return await good(target, request, now_s)


async def cutting(target: "Target", request: web.Request, _: float) -> web.StreamResponse:
    """Begin an answer and break the connection."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(target.events[0])
    await asyncio.sleep(0.02)
    if request.transport is not None:
        request.transport.abort()
    return response


async def flapping(target: "Target", request: web.Request, now_s: float) -> web.StreamResponse:
    """Fail every other half second."""
    return await (failing if int(now_s * 2) % 2 else good)(target, request, now_s)


async def dead(_: "Target", request: web.Request, __: float) -> web.StreamResponse:
    """Take no connection: as if nobody listened."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


SCENARIOS: Final[dict[str, tuple[Says, Says]]] = {
    "429 storm": (limited, good),
    "one target dead": (dead, good),
    "one target slow": (slow, good),
    "flapping": (flapping, good),
    "cut streams": (cutting, good),
    "all dead": (failing, failing),
}


@dataclass
class Target:
    """One provider: misbehaves by its script until the fault is over; knows when it was called, and how that ended."""

    says: Says
    fault_s: float
    calls: list[float] = field(default_factory=list)
    began: float = 0.0
    url: str = ""

    def __post_init__(self) -> None:
        whole = orjson.loads(completion("m"))
        choice = whole["choices"][0]
        delta = {"index": 0, "delta": {"content": ANSWER}, "logprobs": choice["logprobs"], "finish_reason": None}
        chunks = [{"choices": [delta]}, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
        events = [*chunks, {"choices": [], "usage": whole["usage"]}]
        self.events = [b"data: " + orjson.dumps(one) + b"\n\n" for one in events]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one call."""
        await request.read()
        now_s = time.monotonic() - self.began
        self.calls.append(now_s)
        return await (self.says if now_s < self.fault_s else good)(self, request, now_s)


@dataclass(frozen=True)
class Found:
    """One scenario's figures. Times are seconds as they passed."""

    jobs: int
    answered: int
    in_time: int
    lost: int
    calls: int
    wasted: int
    into_the_open: int
    most_attempts: int
    past_deadline: int
    p50_s: float
    p99_s: float
    recovered_s: float | None

    @property
    def broken(self) -> bool:
        """Whether a promise was."""
        return bool(self.lost or self.past_deadline or self.most_attempts > MOST_ATTEMPTS or self.into_the_open)


class Scenario:
    """One run of a scenario."""

    def __init__(self, first: Says, second: Says, fault_s: float = FAULT_S, lasts_s: float = LASTS_S) -> None:
        self.targets = Target(first, fault_s), Target(second, fault_s)
        self._fault_s = fault_s
        self._lasts_s = lasts_s
        self.attempts: list[tuple[float, str, bool]] = []
        self.ends: list[tuple[float, float, str]] = []
        self.most_attempts = 0
        self.past_deadline = 0
        self.changes: list[tuple[float, str, str]] = []

    async def run(self) -> Found:
        """Serve, ask, and count."""
        runners = [await _serve(target) for target in self.targets]
        models = read_models(
            "models.toml", MODELS.format(first=self.targets[0].url, second=self.targets[1].url), {}, {}
        )
        timer = lambda: time.monotonic() * SPEED  # noqa: E731 -- a clock that runs faster
        providers: dict[str, Provider] = {
            name: GuardedProvider(name, HttpProvider(settings, name=name, timer=timer), timer)
            for name, settings in models.providers.items()
        }
        catalog = Catalog(models)
        bundle = read_bundle(ROOT / "workflows" / "banking_intent")
        told = bundle.files[SETTINGS].replace('model = "local-small"', 'model = "here"\nfallbacks = ["there"]', 1)
        bundle = bundle.but(files={**bundle.files, SETTINGS: told})
        catalog.add(bundle)
        inference = Inference(
            catalog, providers, ControlState, lambda: datetime.now(UTC), _sleep, random.Random(1).random
        )
        began = time.monotonic()
        for target in self.targets:
            target.began = began
        jobs = []
        for number in range(int(self._lasts_s * RATE)):
            await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
            jobs.append(asyncio.create_task(self._job(inference, bundle.version, number, began)))
        await asyncio.gather(*jobs)
        await asyncio.gather(*(provider.aclose() for provider in providers.values()))
        for runner in runners:
            await runner.cleanup()
        return self._found(len(jobs))

    async def _job(self, inference: Inference, version: str, number: int, began: float) -> None:
        asked_at, round_ = time.monotonic(), 0
        deadline = datetime.now(UTC) + timedelta(seconds=DEADLINE_S)
        while True:
            outcome = await inference(_envelope(version, number, round_, deadline))
            made = outcome.facts.attempts
            self.most_attempts = max(self.most_attempts, len(made))
            self.past_deadline += sum(one.started_at >= deadline for one in made)
            self.attempts += [(one.started_at.timestamp(), one.provider, one.error_class is None) for one in made]
            now = time.monotonic()
            self.changes += [(now - began, f"{one.target} of {one.provider}", one.after) for one in outcome.facts.news]
            if not isinstance(outcome, Retry):
                self.ends.append((asked_at - began, now - asked_at, _word(outcome)))
                return
            round_ += 1
            await asyncio.sleep(outcome.after_s / SPEED)

    def _found(self, jobs: int) -> Found:
        took = sorted(took_s for _, took_s, word in self.ends if word == "answered")
        wasted = sum(not answered for _, _, answered in self.attempts)
        back = [began for began, took_s, word in self.ends if word == "answered" and began + took_s > self._fault_s]
        return Found(
            jobs=jobs,
            answered=len(took),
            in_time=sum(took_s < 1.0 for took_s in took),
            lost=jobs - len(self.ends),
            calls=sum(len(target.calls) for target in self.targets),
            wasted=wasted,
            into_the_open=self._into_the_open(),
            most_attempts=self.most_attempts,
            past_deadline=self.past_deadline,
            p50_s=took[len(took) // 2] if took else float("nan"),
            p99_s=took[int(len(took) * 0.99)] if took else float("nan"),
            recovered_s=self._recovered(back),
        )

    def _into_the_open(self) -> int:
        """Calls that the first target got while its breaker was open, but for those that were on their way."""
        opened = [at for at, target, after in self.changes if after == "open" and target == "model m of first"]
        lasts = Limits().open_s / SPEED - ON_THE_WAY_S
        return sum(any(at + ON_THE_WAY_S < call < at + lasts for at in opened) for call in self.targets[0].calls)

    def _recovered(self, back: list[float]) -> float | None:
        """Seconds from the fault's end until the first target answers again."""
        again = [call for call in self.targets[0].calls if call >= self._fault_s]
        return min(again) - self._fault_s if again and back else None


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds / SPEED)


def _word(outcome: Any) -> str:
    match outcome:
        case Pass():
            return "answered"
        case Reject():
            return "expired"
        case Climb() | Escalate():
            return "handed on"
    raise AssertionError(outcome)


def _envelope(version: str, number: int, round_: int, deadline: datetime) -> Envelope[Routed]:
    head = Head(
        tenant="faults",
        job_id=f"job-{number}",
        workflow="banking_intent",
        workflow_version=version,
        round=round_,
        created_at=deadline - timedelta(seconds=DEADLINE_S),
        deadline=deadline,
        trace="00-" + "0" * 31 + "1-" + "0" * 15 + "1-00",
        origin=Origin(topic="", partition=0, offset=0),
    )
    job = Job(workflow="banking_intent", input=json_text({"text": f"Where is my card number {number}?"}))
    decision = Decision(variant="small", tier=Tier.A, provider="first", model="here")
    return Envelope[Routed](head=head, payload=Routed(job=job, decision=decision))


async def _serve(target: Target) -> web.AppRunner:
    app = web.Application()
    app.router.add_post("/chat/completions", target.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    target.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    return runner


def main() -> int:
    """Run all and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", choices=SCENARIOS, action="append", help="default: all")
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    console = Console(stderr=told.json)
    found: dict[str, Found] = {}
    for name in told.scenario or SCENARIOS:
        with console.status(f"{name}: {LASTS_S:g} s"):
            found[name] = asyncio.run(Scenario(*SCENARIOS[name]).run())
    if told.json:
        print(json.dumps({name: asdict(one) for name, one in found.items()}, indent=2))
    else:
        console.print(_table(found))
    return int(any(one.broken for one in found.values()))


def _table(found: dict[str, Found]) -> Table:
    named = ("fault", "jobs", "answered", "in 1 s", "calls", "wasted", "wrong", "tries", "p50", "p99", "back after")
    table = Table(*named, box=None, pad_edge=False)
    for name, one in found.items():
        back = "-" if one.recovered_s is None else f"{one.recovered_s:.1f} s"
        shares = (f"{one.answered / one.jobs:.1%}", f"{one.in_time / one.jobs:.1%}")
        counts = map(str, (one.calls, one.wasted, one.into_the_open, one.most_attempts))
        table.add_row(name, str(one.jobs), *shares, *counts, f"{one.p50_s:.2f} s", f"{one.p99_s:.2f} s", back)
    return table


if __name__ == "__main__":
    sys.exit(main())

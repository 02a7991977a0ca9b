"""One chaos run: a pipeline is started, fed, broken by its plan, brought to rest and accounted for."""

import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, Protocol

from checker.evidence import Evidence, Finding, findings, surplus_calls
from checker.ledger import Ledger
from lab.site import Site

from chaos.crew import Crew
from chaos.faults import Injector
from chaos.plan import Fault, Plan
from chaos.publishing import Publishing
from penstock.local.stack import EmbeddedStack

STUCK_S: Final = 180.0
"""Seconds without any end after which a pipeline counts as stuck."""
SESSION_MS: Final = "6000"
"""How soon a group gives a frozen member up; by default 45 s."""


class Watcher(Protocol):
    """Who is told how far a run is."""

    def progress(self, ends: int) -> None:
        """So many jobs have ended."""
        ...

    def breaking(self, fault: Fault) -> None:
        """This is carried out now."""
        ...


@dataclass(frozen=True)
class Outcome:
    """One run: what it left behind."""

    plan: Plan
    seen: Evidence
    findings: list[Finding]
    figures: dict[str, Any]

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        return not any(finding.broken for finding in self.findings)


def run(stack: EmbeddedStack, plan: Plan, watcher: Watcher, name: str = "chaos") -> Outcome:
    """Carry out a plan on a pipeline of its own.

    Raises:
        LabError: the pipeline is stuck, or something can't be broken as planned.
    """
    with ExitStack() as life:
        site = Site(stack, name, {"PENSTOCK_KAFKA__SESSION_TIMEOUT_MS": SESSION_MS})
        life.callback(site.close)
        life.callback(site.models.set_latency, None)
        life.callback(stack.resume, "warehouse")
        crew = Crew(site, plan.together)
        crew.start()
        began = time.perf_counter()
        publishing = Publishing(site, plan)
        publishing.start()
        life.callback(publishing.close)
        injector = Injector(site, stack, crew)

        def keep_busy() -> None:
            """A process that is to die in some transactions' time needs work until then."""
            publishing.allowed = max(publishing.allowed, min(most, site.ends.count + plan.size.window // 2))

        most = plan.size.jobs
        crew.meanwhile = keep_busy
        for number, fault in enumerate(plan.faults):
            most = plan.most(number)
            publishing.allowed = min(most, fault.at + plan.size.window // 2)
            _until_ends(site, crew, publishing, fault.at, watcher)
            watcher.breaking(fault)
            publishing.allowed = min(most, fault.at + plan.size.window)
            injector.inject(fault)
        publishing.allowed = plan.size.jobs
        crew.until(publishing.done.is_set, "all is published", STUCK_S + plan.size.jobs)
        publishing.require_success()
        _until_ends(site, crew, publishing, publishing.ends, watcher)
        took_s = time.perf_counter() - began
        injector.finish()
        seen = site.checker.collect(_ledger(publishing, injector, crew), f"{name}-", alive=crew.tend)
        return Outcome(plan, seen, findings(seen), _figures(plan, seen, publishing, injector, took_s))


def _until_ends(site: Site, crew: Crew, publishing: Publishing, count: int, watcher: Watcher) -> None:
    """Wait until so many jobs have ended, as long as any do."""
    while site.ends.count < count:
        before = site.ends.count
        crew.until(lambda before=before: site.ends.count > before, f"more than {before} of {count} ends", STUCK_S)
        publishing.require_success()
        watcher.progress(site.ends.count)


def _ledger(publishing: Publishing, injector: Injector, crew: Crew) -> Ledger:
    return Ledger(
        published=publishing.published,
        one_key=publishing.one_key,
        unreadable=publishing.unreadable,
        faults=injector.noted,
        deaths=crew.deaths,
    )


def _figures(plan: Plan, seen: Evidence, publishing: Publishing, injector: Injector, took_s: float) -> dict[str, Any]:
    """What was counted."""
    surplus = surplus_calls(seen)
    at_least = plan.size.open_calls
    return {
        "jobs published": len(seen.ledger.published),
        "records of jobs published before": publishing.again,
        "unreadable records": len(seen.ledger.unreadable),
        "jobs with a result": len(seen.results),
        "jobs that wait for a person": len(seen.escalations),
        "results by status": dict(Counter(found[0] for found in seen.results.values())),
        "dead letters": seen.dead_letters.total(),
        "kill -9 by stage": dict(Counter(injector.kills)),
        "kill -9 in all": len(injector.kills),
        "of these between produce and commit": injector.fail_point_deaths,
        f"of these with {at_least} calls open": len(injector.open_at_kills),
        "zombies": injector.zombies,
        "attempts on record": len(seen.attempts),
        "calls in the model server's log": sum(map(len, seen.calls.values())),
        "surplus calls": len(surplus),
        "of these answered, but not committed": sum(call.answered for call in surplus),
        "rows of v_jobs": len(seen.job_rows),
        "seconds": round(took_s, 1),
    }

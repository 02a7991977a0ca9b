from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from processors.outcome import Escalate, Pass, Reject, Retry
from processors.routing import Routing
from schemas.control import SwitchKind
from schemas.job import Snapshot
from schemas.side import SnapshotVersion
from schemas.stages import Admitted, Decided, Status


@pytest.fixture
def run(desk, enveloped, a_job, clock):
    """Give a function that runs routing on an admitted job."""

    async def routing(job=None, decided=None, **head):
        processor = Routing(desk.catalog, desk.read_control, clock)
        return await processor(enveloped(Admitted(job=job or a_job(), decided=decided), **head))

    return routing


async def test_the_rung_goes_into_the_head_and_the_decision_into_the_facts(run, a_job):
    """What routing settles is in the outcome."""
    outcome = await run(a_job())
    assert isinstance(outcome, Pass)
    assert outcome.head == {"rung": 0, "control_version": 7}
    assert outcome.facts.decision == outcome.product.decision


async def test_what_intake_decided_ends_here(run):
    """One stage ends jobs before inference."""
    outcome = await run(decided=Decided(status=Status.REJECTED, reason="bad"))
    assert outcome == Reject(Status.REJECTED, "bad")


async def test_no_permitted_rung_goes_to_a_person(run, desk):
    """When every model is switched off, somebody must decide."""
    kills = frozenset({(SwitchKind.PROVIDER, "one"), (SwitchKind.PROVIDER, "two")})
    desk.control = replace(desk.control, kills=kills)
    outcome = await run()
    assert isinstance(outcome, Escalate)
    assert "no rung is permitted" in outcome.reason


async def test_a_job_that_can_pay_for_no_rung_is_over_budget(run, a_job):
    """The job's own limit of cost ends it."""
    outcome = await run(a_job(max_cost_usd=Decimal("0.000001")))
    assert outcome.status is Status.OVER_BUDGET


@pytest.mark.parametrize(("kind", "name"), [(SwitchKind.WORKFLOW, "sorting"), (SwitchKind.TENANT, "acme")])
async def test_a_stopped_workflow_or_tenant_waits(run, desk, kind, name):
    """A kill switch thrown after admission still stops the spending."""
    desk.control = replace(desk.control, kills=frozenset({(kind, name)}))
    outcome = await run()
    assert isinstance(outcome, Retry)
    assert outcome.after_s == 10


async def test_a_version_that_is_not_here_waits(run):
    """A job keeps the version it started with, and waits for it."""
    assert isinstance(await run(workflow_version="f" * 16), Retry)


async def test_a_snapshot_that_expired_on_the_way_is_stale(run, a_job, clock):
    """Every stage looks at the clock again."""
    snapshot = Snapshot(
        id="s", version="1", taken_at=clock.now, valid_until=clock.now + timedelta(seconds=5), sha256="0" * 64
    )
    assert isinstance(await run(a_job(context=snapshot)), Pass)
    clock.move(5)
    assert (await run(a_job(context=snapshot))).status is Status.STALE_CONTEXT


async def test_a_superseded_snapshot_is_stale_unless_it_was_taken_later(run, desk, a_job, clock):
    """A newer version of the context ends the job; news of an older one does not, nor that of its own version."""
    snapshot = Snapshot(id="s", version="2", taken_at=clock.now, sha256="0" * 64)
    desk.control.snapshots.learn(SnapshotVersion(snapshot_id="s", version="1", at=clock.now - timedelta(seconds=1)))
    assert isinstance(await run(a_job(context=snapshot)), Pass)
    desk.control.snapshots.learn(SnapshotVersion(snapshot_id="s", version="2", at=clock.now + timedelta(seconds=1)))
    assert isinstance(await run(a_job(context=snapshot)), Pass)
    desk.control.snapshots.learn(SnapshotVersion(snapshot_id="s", version="3", at=clock.now + timedelta(seconds=2)))
    outcome = await run(a_job(context=snapshot))
    assert outcome.status is Status.STALE_CONTEXT
    assert "version 2 is superseded by version 3" in outcome.reason
    assert not outcome.ask_again


async def test_the_workflows_promise_of_latency_counts_where_the_job_names_none(run, desk):
    """slo.latency_ms is the limit of jobs without one, so a classification starts at tier A with that reason."""
    text = desk.settings_text
    desk.with_files(**{"workflow.toml": text + "\n[slo]\nlatency_ms = 900\n"})
    outcome = await run(workflow_version=desk.version)
    assert outcome.product.decision.reasons[0] == "classify within 900 ms starts at tier A"

"""The health endpoint: what it says in each state of a worker, and where it listens."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass

import pytest

from penstock.local.ports import free_port
from penstock.settings import load_settings
from penstock.vitals import Vitals, VitalsError
from streams import metrics
from streams.metered import MeteredPublisher


@dataclass
class Follower:
    """As far as vitals look at it."""

    following: bool = True


@dataclass
class Sink:
    """As far as vitals look at it."""

    away_because: str | None = None


@pytest.fixture
async def vitals(tmp_path, monkeypatch):
    """Give a function that makes the vitals of a worker that is watched on a free port."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(metrics, "REGISTRY", metrics.CollectorRegistry())
    made = []

    async def make(port=0, **more):
        told = Vitals(load_settings(health_port=port), "here/all/0", ["intake", "sink"], lambda: 7, **more)
        made.append(told)
        await told.open()
        return told

    yield make
    for told in made:
        await told.close()


async def ask(told, path):
    """Status and body of a path."""
    import asyncio  # noqa: PLC0415 -- only here

    def get():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{told.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    return await asyncio.to_thread(get)


async def readiness(told):
    status, body = await ask(told, "/readyz")
    said = json.loads(body)
    assert said["ok"] == (status == 200)
    return status, " ".join(said["problems"])


async def test_a_worker_is_ready_from_its_beginning_to_its_stop(vitals):
    """Before it takes records and once it stops it is not ready, and says why; it lives all the time."""
    told = await vitals()
    assert await readiness(told) == (503, "it has not begun yet")
    told.ready = True
    assert await readiness(told) == (200, "")
    told.stopping = True
    status, why = await readiness(told)
    assert (status, "stopping" in why) == (503, True)
    assert (await ask(told, "/healthz"))[0] == 200


async def test_an_absent_warehouse_makes_a_sink_unready_but_not_ill(vitals):
    """Restarting it would help nobody; sending it nothing more may."""
    told = await vitals(sink=Sink("connection refused"), ready=True)
    assert await readiness(told) == (503, "the warehouse is away: connection refused")
    assert (await ask(told, "/healthz"))[0] == 200


async def test_a_worker_that_no_switch_reaches_is_ill(vitals):
    """Kill switches must hold everywhere: a worker that does not follow them should be started anew."""
    told = await vitals(follower=Follower(following=False), ready=True)
    status, body = await ask(told, "/healthz")
    assert status == 503
    assert "kill switches" in json.loads(body)["problems"][0]


async def test_metrics_say_what_is_so_now(vitals):
    """The control version, readiness and the sink's state are read when somebody asks."""
    told = await vitals(sink=Sink(), ready=True)
    status, text = await ask(told, "/metrics")
    assert status == 200
    assert 'penstock_worker_info{parts="intake,sink",worker="here/all/0"} 1.0' in text
    assert "penstock_control_version 7.0" in text
    assert "penstock_ready 1.0" in text
    assert "penstock_sink_away 0.0" in text


async def test_workers_with_one_port_don_t_clash(vitals, monkeypatch):
    """The second takes the next free port; the port of the setting is where the first one is."""
    port = free_port()
    first = await vitals(port)
    monkeypatch.setattr(metrics, "REGISTRY", metrics.CollectorRegistry())  # another process has another
    second = await vitals(port)
    assert first.port == port
    assert port < second.port < port + 64


async def test_no_free_port_is_an_error_that_names_the_setting(vitals, monkeypatch):
    """Rather no worker than one that nobody can see."""
    monkeypatch.setattr("penstock.vitals.PORTS_TRIED", 1)
    first = await vitals()
    monkeypatch.setattr(metrics, "REGISTRY", metrics.CollectorRegistry())
    with pytest.raises(VitalsError, match="health_port"):
        await vitals(first.port)


async def test_nothing_is_counted_or_served_unless_asked_for(tmp_path, monkeypatch):
    """Without the setting the publisher is the bare one, and nothing listens."""
    monkeypatch.chdir(tmp_path)
    told = Vitals(load_settings(), "here/all/0", [], lambda: 0)
    await told.open()
    assert told.port is None
    bare = object()
    assert told.publisher(bare) is bare
    told.settings = load_settings(health_port=0)
    assert isinstance(told.publisher(bare), MeteredPublisher)

"""The supervisor of several workers, with processes that stand in for workers: what it does when they end."""

import asyncio
import contextlib
import os
import signal
import sys
import textwrap
import time

import pytest
import structlog

from penstock import workers
from penstock.workers import Workers

LIMIT_S = 30


def worker(body):
    """The command of a process that is ready at once and then does as told."""
    text = "import os, signal, sys, time\nprint('ready', flush=True)\n" + textwrap.dedent(body)
    return (sys.executable, "-c", text)


DRAINS = worker("""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True: time.sleep(60)
""")
STUBBORN = worker("""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True: time.sleep(60)
""")


@pytest.fixture
async def team():
    """Give a function that runs workers; what is left at the end of the test is told to stop."""
    started = []

    async def end():
        for running, task in started:
            running._stopping.set()
            await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), LIMIT_S)

    def start(command, count, drain_s=5.0):
        running = Workers(command, count, drain_s)
        task = asyncio.create_task(running.run())
        started.append((running, task))
        return task

    with structlog.testing.capture_logs() as lines:
        start.lines = lines
        yield start
        await end()


async def said(lines, event, count=1):
    """The lines of an event, once there are so many."""
    async with asyncio.timeout(LIMIT_S):
        while len(found := [line for line in lines if line["event"] == event]) < count:  # noqa: ASYNC110 -- no event
            await asyncio.sleep(0.02)
    return found


def alive(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def test_sigterm_is_passed_on_and_waited_for(team):
    """Told to stop, it stops every worker; all drained is exit code 0."""
    running = team(DRAINS, 3)
    pids = [line["pid"] for line in await said(team.lines, "worker ready", 3)]
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(running, LIMIT_S) == 0
    assert not any(alive(pid) for pid in pids)


async def test_a_killed_worker_is_started_again_and_the_others_go_on(team):
    """One killed worker is replaced; its death is on record with the signal; nobody else is touched."""
    running = team(DRAINS, 2)
    before = {line["number"]: line["pid"] for line in await said(team.lines, "worker ready", 2)}
    os.kill(before[1], signal.SIGKILL)
    after = (await said(team.lines, "worker ready", 3))[-1]
    assert (after["number"], after["pid"] != before[1]) == (1, True)
    (ended,) = await said(team.lines, "worker ended")
    assert (ended["number"], ended["code"], ended["why"]) == (1, 137, "SIGKILL")
    assert alive(before[0])
    assert not running.done()


async def test_a_worker_that_dies_again_and_again_is_given_up_loudly(team, monkeypatch):
    """Five deaths within a minute are enough: the log says so and why, and its code is the exit code."""
    monkeypatch.setattr(workers, "decide", decide_at_once)
    assert await asyncio.wait_for(team(worker("sys.exit(70)"), 1), LIMIT_S) == 70
    (given_up,) = await said(team.lines, "worker given up")
    assert given_up["log_level"] == "error"
    assert "5 times within a minute" in given_up["mend"]
    assert "bug" in given_up["why"]


decide = workers.decide


def decide_at_once(deaths, now):
    """The decision as it is, without the waits."""
    found = decide(deaths, now)
    return type(found)(0.0) if isinstance(found, workers.RestartAfter) else found


async def test_a_setting_that_can_t_be_used_ends_it_at_once(team):
    """What the next process would find again is not tried again."""
    assert await asyncio.wait_for(team(worker("sys.exit(2)"), 1), LIMIT_S) == 2
    assert len(await said(team.lines, "worker started")) == 1


async def test_an_absent_broker_is_waited_for(team, monkeypatch):
    """Workers that can't reach their broker are tried again for ever, not given up."""
    monkeypatch.setattr(workers, "AWAY_S", 0.0)
    running = team(worker("sys.exit(3)"), 1)
    await said(team.lines, "worker ended", 7)
    assert not running.done()


async def test_a_worker_that_does_not_drain_is_killed(team, monkeypatch):
    """After the drain time and a grace it is killed, and the exit code shows it."""
    monkeypatch.setattr(workers, "GRACE_S", 0.2)
    running = team(STUBBORN, 1, drain_s=0.1)
    await said(team.lines, "worker ready")
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(running, LIMIT_S) == 128 + signal.SIGKILL
    await said(team.lines, "worker killed: it did not end in time")


async def test_the_first_worker_is_ready_before_the_others_start(team):
    """What is missing at a start (topics, versions) is made once, not by all at the same time."""
    team(DRAINS, 3)
    await said(team.lines, "worker ready", 3)
    order = [(line["event"], line["number"]) for line in team.lines]
    assert order[:2] == [("worker started", 0), ("worker ready", 0)]


def test_workers_do_not_outlive_a_killed_supervisor(tmp_path, eventually):
    """The supervisor is killed: its workers see the end of their input."""
    told = tmp_path / "pids"
    watching = worker(f"""
        open({str(told)!r}, "a").write(f"{{os.getpid()}}\\n")
        sys.stdin.read()
    """)
    script = (
        f"import asyncio, sys; from penstock.workers import Workers; asyncio.run(Workers({watching!r}, 2, 1.0).run())"
    )
    pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", script])
    pids = eventually(lambda: told.exists() and len(lines := told.read_text().split()) == 2 and lines)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    until = time.monotonic() + LIMIT_S
    while any(alive(int(one)) for one in pids):
        assert time.monotonic() < until
        time.sleep(0.02)

import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from penstock.local.process import Child, alive, identify, stop_all

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
POLITE = "import time; print('up', flush=True); time.sleep(60)"


@pytest.fixture
def start(tmp_path, eventually):
    children = []

    def run(code):
        child = Child((sys.executable, "-c", code), directory=tmp_path, log=tmp_path / "log")
        children.append(child)
        eventually(lambda: child.said("up"))
        return child

    yield run
    for child in children:
        child.kill()


def test_child_ends_politely(start):
    """A polite child ends by SIGTERM, even when it was frozen."""
    child = start(POLITE)
    child.signal(signal.SIGSTOP)
    assert child.stop(limit_s=10) == -signal.SIGTERM


def test_stubborn_child_is_killed(start):
    """A child that ignores SIGTERM is killed after its limit."""
    assert start(STUBBORN).stop(limit_s=0.1) == -signal.SIGKILL


def test_said_sees_this_run_only(start):
    """What an earlier run wrote to the same log does not count."""
    start(POLITE).kill()
    silent = start("import time; print('up', flush=True); time.sleep(60)")
    assert silent.log_start > 0
    assert not silent.said("down")


def test_process_is_known_by_more_than_its_pid(start):
    """A later process with the same pid is not taken for the earlier one."""
    child = start(POLITE)
    assert alive(child.identity)
    assert not alive(replace(child.identity, created=child.identity.created - 60))
    child.kill()
    assert not alive(child.identity)


def test_strangers_are_stopped_by_force_if_need_be(tmp_path, eventually):
    """Processes that someone else started are ended too, the stubborn ones by SIGKILL."""
    with subprocess.Popen((sys.executable, "-c", STUBBORN), stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout.readline() == b"up\n"
        identity = identify(process.pid)
        stop_all([identity], limit_s=0.1)
        assert not alive(identity)
    assert process.returncode == -signal.SIGKILL

import os
import signal
import subprocess
import sys

import pytest

from penstock.local.errors import StackBusyError
from penstock.local.stack import locks

HOLD = """
import pathlib, sys, time
from penstock.local.stack import locks
with locks.hold(pathlib.Path(sys.argv[1]), wait_s=0):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_holder_waits_and_is_told_who_holds_it(tmp_path):
    """A held lock names its holder; one who can't wait any longer gets an error that does so too."""
    path, told = tmp_path / "x.lock", []
    assert locks.holder(path) is None
    with (
        locks.hold(path, wait_s=0),
        pytest.raises(StackBusyError, match=f"held by process {os.getpid()}"),
        locks.hold(path, wait_s=0.1, waiting=told.append),
    ):
        pass
    assert told == [os.getpid()]
    assert locks.holder(path) is None


def test_lock_of_a_killed_process_is_free(tmp_path):
    """No lock is ever stale: a killed holder's is free at once."""
    path = tmp_path / "x.lock"
    with subprocess.Popen((sys.executable, "-c", HOLD, str(path)), stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        assert locks.holder(path) == process.pid
        process.send_signal(signal.SIGKILL)
    assert locks.holder(path) is None
    with locks.hold(path, wait_s=0):
        assert locks.holder(path) == os.getpid()

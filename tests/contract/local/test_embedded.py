import signal
import subprocess
import sys

import pytest

from penstock.local.process import identify

pytestmark = pytest.mark.stack

LEAVE_A_BROKER = """
import pathlib, sys, time
from penstock.local.stack import embedded
with embedded(pathlib.Path(sys.argv[1]), ("broker",)) as stack:
    print(stack.pid("broker"), flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("name", ["warehouse", "model_server"])
def test_component_can_be_killed_and_restarted(stack, name):
    """A component comes back on its port after a kill, as another process."""
    before = stack.pid(name)
    stack.kill(name)
    assert "connection refused" in stack.problem(name)
    stack.restart(name)
    assert stack.problem(name) is None
    assert stack.pid(name) != before


def test_component_can_be_frozen(stack, eventually):
    """A frozen component answers nothing, and answers again afterwards."""
    with stack.paused("model_server"):
        assert "nothing within" in stack.problem("model_server")
    eventually(lambda: stack.problem("model_server") is None)


def test_settings_lead_to_the_stack(stack, tmp_path):
    """Settings made by the stack point at its own addresses, and take other values besides."""
    settings = stack.settings(tmp_path, prefix="t.")
    assert settings.broker == stack.broker
    assert settings.warehouse_url == stack.warehouse_url
    assert settings.model_server_url == stack.model_server_url
    assert (settings.project, settings.prefix) == (tmp_path, "t.")


def test_nothing_outlives_a_killed_test_run(tmp_path, eventually):
    """A process that is killed in the middle of using a stack takes the stack's processes with it."""
    command = (sys.executable, "-c", LEAVE_A_BROKER, str(tmp_path))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        pid = int(process.stdout.readline())
        assert identify(pid) is not None
        process.send_signal(signal.SIGKILL)
    eventually(lambda: identify(pid) is None)

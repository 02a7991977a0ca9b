import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from confluent_kafka.admin import AdminClient
from pydantic import SecretStr

from penstock.local.errors import PortTakenError, StackStartError
from penstock.local.ports import free_ports
from penstock.local.process import identify
from penstock.local.stack import control, down, status, up
from penstock.local.stack.plan import StackPlan
from penstock.settings import load_settings

pytestmark = pytest.mark.stack


@pytest.fixture
def settings(tmp_path):
    """Give a project whose stack is only a broker: the warehouse and the model server are said to run elsewhere."""
    made = load_settings(
        tmp_path,
        broker_port=free_ports(1)[0],
        warehouse_url="http://127.0.0.1:1",
        model_server_url="http://127.0.0.1:2",
    )
    yield made
    down(made)
    assert control.orphans(StackPlan.of(made)) == ()


def brokers(settings):
    return AdminClient({"bootstrap.servers": settings.broker}).list_topics(timeout=30).brokers


def test_up_twice_then_down_twice(settings):
    """A second up changes nothing and says so; a second down finds nothing to do."""
    told = []
    first = up(settings, progress=told.append)
    assert first.healthy
    assert len(brokers(settings)) == 1
    assert any("broker is ready" in sentence for sentence in told)
    second = up(settings, progress=told.append)
    assert second.components["broker"].pid == first.components["broker"].pid
    assert any(f"already running (supervisor: process {first.supervisor})" in sentence for sentence in told)
    assert down(settings) is True
    assert down(settings) is False
    after = status(settings)
    assert (after.healthy, after.supervisor, after.components["broker"].state) == (False, None, "stopped")
    assert after.problems == ("the broker is not running; start it with `penstock up`",)


def test_up_at_once_starts_one_stack(settings):
    """Two who start the stack at the same time get the same one."""
    told = []
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda _: up(settings, progress=told.append), range(2))
    assert one.healthy
    assert two.healthy
    assert one.components["broker"].pid == two.components["broker"].pid
    assert any("is at work; waiting for it" in sentence for sentence in told)
    assert any("already running" in sentence for sentence in told)


def test_status_is_json_with_stable_keys(settings):
    """The status names the addresses and what each component does; one whose address is set elsewhere is external."""
    up(settings)
    shown = json.loads(json.dumps(status(settings).to_json()))
    assert shown["broker"] == settings.broker
    assert (shown["warehouse"], shown["model_server"]) == ("http://127.0.0.1:1", "http://127.0.0.1:2")
    assert shown["healthy"] is True
    assert shown["components"]["warehouse"]["state"] == "external"
    broker = shown["components"]["broker"]
    assert (broker["state"], broker["restarts"], broker["detail"]) == ("running", 0, "")
    assert psutil.pid_exists(broker["pid"])
    assert "Kafka Server started" in Path(broker["log"]).read_text()


def test_killed_broker_is_restarted(settings, eventually):
    """A broker killed by SIGKILL comes back on the same data, and its end is on record."""
    before = up(settings).components["broker"]
    os.kill(before.pid, signal.SIGKILL)
    eventually(lambda: not status(settings).healthy)
    eventually(lambda: status(settings).healthy, limit_s=60)
    after = status(settings).components["broker"]
    assert after.pid != before.pid
    assert after.restarts == 1
    assert after.last_exit["code"] == -signal.SIGKILL
    assert len(brokers(settings)) == 1


def test_frozen_broker_is_unhealthy(settings, eventually):
    """A broker that hangs is seen, although its process and its port are there."""
    pid = up(settings).components["broker"].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: status(settings).components["broker"].state == "unhealthy")
        now = status(settings)
        assert f"the broker at {settings.broker} does not answer: nothing within 2 s; see " in now.problems[0]
    finally:
        os.kill(pid, signal.SIGCONT)


def test_orphans_of_a_killed_supervisor_are_cleaned_up(settings, eventually):
    """What a killed supervisor left running is named by status, and replaced by the next up, with a note."""
    first = up(settings)
    os.kill(first.supervisor, signal.SIGKILL)
    eventually(lambda: status(settings).supervisor is None)
    orphaned = status(settings).components["broker"]
    assert (orphaned.state, orphaned.pid) == ("orphaned", first.components["broker"].pid)
    told = []
    second = up(settings, progress=told.append)
    assert second.healthy
    assert identify(orphaned.pid) is None
    assert any(f"cleaning up, process {orphaned.pid}" in sentence for sentence in told)
    os.kill(second.supervisor, signal.SIGKILL)
    eventually(lambda: status(settings).supervisor is None)
    assert down(settings) is True
    assert identify(second.components["broker"].pid) is None


def test_remains_of_a_dead_stack_don_t_stand_in_the_way(settings):
    """A state file that nobody stands behind any more is cleaned up with a note."""
    first = up(settings)
    left = (settings.data_dir / "stack.json").read_text()
    down(settings)
    (settings.data_dir / "stack.json").write_text(left)
    assert "its supervisor is gone" in status(settings).problems[0]
    told = []
    assert up(settings, progress=told.append).components["broker"].pid != first.components["broker"].pid
    assert any("ended without stopping the stack" in sentence for sentence in told)


def test_taken_port_stops_everything_before_it_starts(settings):
    """A foreign process on a port is named, and nothing was started or written."""
    with (
        socket.create_server(("127.0.0.1", settings.broker_port)),
        pytest.raises(
            PortTakenError, match=f"port {settings.broker_port} is taken by .*pid {os.getpid()}.*broker_port"
        ),
    ):
        up(settings)
    assert not (settings.data_dir / "stack.json").exists()
    assert not (settings.data_dir / "broker").exists()


def test_start_that_fails_leaves_nothing_behind(settings):
    """A broker that can't start is given up with its own words, and nothing stays."""
    broken = settings.model_copy(update={"broker_properties": {"authorizer.class.name": SecretStr("no.such.Class")}})
    with pytest.raises(
        StackStartError, match=r"broker ended with exit code 1, 5 times within a minute(.|\n)*no\.such\.Class"
    ):
        up(broken)
    assert status(settings).supervisor is None
    assert up(settings).healthy


def test_interrupted_up_leaves_nothing_behind(settings, eventually):
    """Ctrl-C during up stops what it had started."""
    code = (
        "import pathlib, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "from penstock.settings import load_settings\n"
        "from penstock.local.stack import up\n"
        f"up(load_settings(pathlib.Path({str(settings.project)!r}), broker_port={settings.broker_port},"
        " warehouse_url='http://127.0.0.1:1', model_server_url='http://127.0.0.1:2'), progress=print)\n"
    )
    with subprocess.Popen((sys.executable, "-c", code), stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        eventually(lambda: status(settings).supervisor)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert b"KeyboardInterrupt" in said
    assert status(settings).supervisor is None
    assert not (settings.data_dir / "stack.json").exists()


def test_frozen_supervisor_can_be_stopped(settings):
    """Down ends a supervisor that hangs, and the broker with it."""
    running = up(settings)
    os.kill(running.supervisor, signal.SIGSTOP)
    assert down(settings) is True
    assert identify(running.components["broker"].pid) is None


def test_whole_stack_comes_up(tmp_path):
    """Broker, warehouse and model server come up together under one supervisor, and go down together."""
    broker, warehouse, model_server = free_ports(3)
    made = load_settings(tmp_path, broker_port=broker, warehouse_port=warehouse, model_server_port=model_server)
    try:
        running = up(made)
        assert {name: component.state for name, component in running.components.items()} == {
            "broker": "running",
            "warehouse": "running",
            "model_server": "running",
        }
    finally:
        down(made)
    assert status(made).supervisor is None
    assert control.orphans(StackPlan.of(made)) == ()

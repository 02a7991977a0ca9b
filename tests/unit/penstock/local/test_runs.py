import os
import signal
import sys
from dataclasses import replace

import pytest

from penstock.local.ports import free_port
from penstock.local.stack import health
from penstock.local.stack.plan import Component
from penstock.local.stack.runs import Run

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/ping" else 503); self.end_headers(); self.wfile.write(b"Ok.")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def component(tmp_path):
    def make(code=SERVER, path="/ping"):
        port = free_port()
        return Component(
            name="warehouse",
            address=f"http://127.0.0.1:{port}",
            port=port,
            data=tmp_path / "data",
            log=tmp_path / "warehouse.log",
            health_path=path,
            ready_text=None,
            stop_limit_s=5,
            marks=("-c", str(port)),
            command=lambda: (sys.executable, "-c", code, str(port)),
            before_start=lambda: None,
        )

    return make


@pytest.fixture
def supervise(eventually):
    runs = []

    def until(made, phase):
        run = Run(made)
        runs.append(run)
        run.start()
        eventually(lambda: run.step() or run.state.phase == phase)
        return run

    yield until
    for run in runs:
        run.stop()


def test_component_is_running_once_it_answers(component, supervise):
    """A started component counts as running from its first right answer on."""
    made = component()
    assert "does not answer: connection refused" in health.problem(made)
    run = supervise(made, "running")
    assert health.problem(made) is None
    assert run.state.process.pid
    run.stop()
    assert run.state.phase == "stopped"
    assert "connection refused; see " in health.problem(made)


def test_killed_component_is_started_again(component, supervise, eventually):
    """A component that was killed comes back as another process, and how the last one ended is remembered."""
    run = supervise(component(), "running")
    first = run.state.process
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: run.step() or run.state.phase == "restarting")
    eventually(lambda: run.step() or run.state.phase == "running")
    assert run.state.process != first
    assert run.state.restarts == 1
    assert run.state.last_exit.code == -signal.SIGKILL


def test_component_that_keeps_dying_is_given_up(component, supervise, eventually):
    """Five deaths within a minute end the attempts; the state says so, with the last lines of the log."""
    run = supervise(component("import sys; sys.exit('no such table')"), "failed")
    assert "ended with exit code 1, 5 times within a minute: given up" in run.state.detail
    assert "no such table" in run.state.last_exit.log
    assert run.state.restarts == 4
    run.try_again()
    assert run.state.phase == "starting"


def test_frozen_component_is_not_healthy(component, supervise):
    """The kernel accepts connections for a frozen process; only an answer counts."""
    made = component()
    run = supervise(made, "running")
    os.kill(run.state.process.pid, signal.SIGSTOP)
    assert "nothing within 0.2 s" in health.problem(made, timeout_s=0.2)


def test_wrong_answer_is_quoted(component, supervise):
    """A component that answers with an error is not healthy, and its answer is shown."""
    made = component()
    supervise(made, "running")
    assert "answers /broken with 503: Ok." in health.problem(replace(made, health_path="/broken"))


def test_program_that_is_not_there_is_given_up(component, supervise):
    """A command that can't be started at all is a death like any other."""
    run = supervise(replace(component(), command=lambda: ("/no/such/program",)), "failed")
    assert "could not be started" in run.state.detail

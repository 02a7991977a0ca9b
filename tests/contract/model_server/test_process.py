"""The server as a process of its own: its start, its end, and callers that die."""

import json
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

pytestmark = pytest.mark.stack

CALLER = """
import sys, urllib.request
body = b'{"model": "local-small", "messages": [{"role": "user", "content": "x"}]}'
headers = {"Content-Type": "application/json", "X-Penstock-Attempt": "dead", "X-Penstock-Fault": "slow:1"}
urllib.request.urlopen(urllib.request.Request(sys.argv[1] + "/v1/chat/completions", body, headers)).read()
"""


@pytest.fixture
def data(tmp_path, models, models_folder):
    (tmp_path / "models").symlink_to(models_folder)
    return tmp_path


@pytest.fixture
def start(data):
    running = []

    def run(*arguments):
        command = [sys.executable, "-m", "penstock.local.model_server", "--data", str(data), *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.communicate()


def calls(data, wanted):
    """The log's lines, once there are as many as wanted."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        lines = (data / "calls.jsonl").read_text().splitlines()
        if len(lines) >= wanted:
            return [json.loads(line) for line in lines]
        time.sleep(0.01)
    raise AssertionError(f"{wanted} lines wanted, found {lines}")


def test_it_says_where_it_listens_and_stops_when_told(start):
    """The first line on stdout is its address, on this machine alone; SIGTERM ends it with status 0."""
    process = start("--port", "0")
    line = json.loads(process.stdout.readline())
    assert line["event"] == "listening"
    assert line["url"].startswith("http://127.0.0.1:")
    with urllib.request.urlopen(line["url"] + "/health") as response:
        assert json.load(response)["status"] == "ok"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_a_taken_port_is_explained(start):
    """The second server on a port ends with a sentence that names the port."""
    first = start()
    port = json.loads(first.stdout.readline())["url"].rpartition(":")[2]
    second = start("--port", port)
    _, said = second.communicate(timeout=30)
    assert second.returncode == 1
    assert f"127.0.0.1:{port}" in said


def test_a_killed_caller_leaves_its_call_in_the_log(start, data):
    """The call began, its caller was killed, and the call still ends in the log, marked as such."""
    url = json.loads(start().stdout.readline())["url"]
    caller = subprocess.Popen([sys.executable, "-c", CALLER, url])
    (began,) = calls(data, 1)
    caller.kill()
    caller.wait()
    ended = calls(data, 2)[1]
    assert (began["event"], began["attempt"]) == ("began", "dead")
    assert (ended["event"], ended["attempt"], ended["client_gone"]) == ("ended", "dead", True)


def test_a_killed_server_leaves_the_open_call_in_the_log(start, data):
    """A call that began has its line even if the server is killed the moment after."""
    process = start()
    caller = subprocess.Popen(
        [sys.executable, "-c", CALLER, json.loads(process.stdout.readline())["url"]], stderr=subprocess.DEVNULL
    )
    calls(data, 1)
    process.kill()
    process.wait()
    assert caller.wait(20) != 0
    assert [line["event"] for line in calls(data, 1)] == ["began"]

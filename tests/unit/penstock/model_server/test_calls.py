import json

from penstock.local.model_server import calls
from penstock.local.model_server.calls import CallLog


def test_a_call_is_two_lines(tmp_path):
    """One line when it began, one when it ended, joined by the call's id; open calls are counted."""
    path = tmp_path / "calls.jsonl"
    log = CallLog(path, "s", clock=iter([1.5, 2.5]).__next__)
    call = log.began("a/1", "local-small", stream=False, sha256="00")
    assert log.summary() == {"open": 1, "began": 1, "ended": 0}
    assert len(path.read_text().splitlines()) == 1
    call.status = 200
    log.ended(call)
    log.close()
    began, ended = map(json.loads, path.read_text().splitlines())
    assert (began["event"], began["at"], began["attempt"], began["sha256"]) == ("began", 1.5, "a/1", "00")
    assert (ended["event"], ended["at"], ended["status"], ended["call"]) == ("ended", 2.5, 200, began["call"])


def test_a_log_is_continued_until_it_is_full(tmp_path, monkeypatch):
    """A second server appends; a log found too large is moved aside."""
    path = tmp_path / "calls.jsonl"
    for server in ("s1", "s2"):
        log = CallLog(path, server)
        log.began(None, None, stream=False, sha256="")
        log.close()
    assert [json.loads(line)["call"] for line in path.read_text().splitlines()] == ["s1-1", "s2-1"]
    monkeypatch.setattr(calls, "FULL_BYTES", 10)
    CallLog(path, "s3").close()
    assert path.read_text() == ""
    assert len((tmp_path / "calls.1.jsonl").read_text().splitlines()) == 2

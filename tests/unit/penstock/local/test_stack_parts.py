import pytest

from penstock.local.errors import MemoryTooLowError
from penstock.local.process import Identity
from penstock.local.stack import logs, memory, state
from penstock.restarts import GiveUp, RestartAfter, decide


def test_restarts_wait_longer_each_time_and_end():
    """Each death within a minute doubles the wait; the fifth is the last."""
    deaths = [0.0, 1.0, 2.0, 3.0, 4.0]
    waits = [decide(deaths[: n + 1], deaths[n]) for n in range(5)]
    assert waits == [RestartAfter(0.25), RestartAfter(0.5), RestartAfter(1.0), RestartAfter(2.0), GiveUp(5)]


def test_old_deaths_are_forgiven():
    """Deaths more than a minute ago count no more."""
    assert decide([0.0, 1.0, 2.0, 3.0, 100.0], 100.0) == RestartAfter(0.25)


def test_large_log_is_rotated_in_place(tmp_path):
    """A log beyond its limit moves aside, twice at most, while its writer keeps appending to the same file."""
    log = tmp_path / "a.log"
    with log.open("ab", buffering=0) as writer:
        for word in (b"one", b"two", b"six", b"ten"):
            writer.write(word)
            assert logs.rotate(log, limit=2)
        writer.write(b"!")
        assert not logs.rotate(log, limit=2)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a.log": b"!",
        "a.log.1": b"ten",
        "a.log.2": b"six",
    }


def test_tail_quotes_the_end(tmp_path):
    """The last lines of a log are quoted whatever its size and bytes; a missing log has none."""
    log = tmp_path / "a.log"
    assert logs.tail(log) == ()
    log.write_bytes(b"x" * 100_000 + b"\nfirst\n\xff second\n")
    assert logs.tail(log, 2) == ("first", "\ufffd second")


def test_memory_is_refused_only_when_hopeless():
    """Enough memory says nothing, little warns, less than half is an error."""
    assert memory.check(1000, 1000) is None
    assert "900 MiB of memory are available" in memory.check(1000, 900)
    with pytest.raises(MemoryTooLowError, match="400 MiB"):
        memory.check(1000, 400)
    assert memory.available_mb() > 0


def test_state_is_read_back_or_not_at_all(tmp_path):
    """What was written is read back; a missing or broken file is no state."""
    path = tmp_path / "stack.json"
    assert state.read(path) is None
    component = state.ComponentState(phase="running", address="a:1", log=tmp_path / "l", process=Identity(1, 2.5))
    written = state.StackState(supervisor=Identity(3, 4.5), started_at=5.5, components={"broker": component})
    state.write(path, written)
    assert state.read(path) == written
    path.write_text(path.read_text()[:40])
    assert state.read(path) is None

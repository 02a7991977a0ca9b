"""The plan of a chaos run: it follows from its seed, and breaks as much as it must."""

import pytest
from chaos.plan import LONG, PARTS, SHORT, Die, Extra, Kill, Restart, RestartBroker, WarehouseOutage, Zombie, plan

from streams.fail_points import armed


def of(chosen, kind):
    return [fault for fault in chosen.faults if isinstance(fault, kind)]


def test_a_seed_is_a_plan():
    """The same seed breaks the same things at the same moments and publishes the same bytes; another one does not."""
    first, again, other = (plan(seed, LONG, duplicates=True) for seed in (7, 7, 8))
    assert first == again
    assert first.faults != other.faults
    assert first.garbage(3, Extra.RANDOM_BYTES) == again.garbage(3, Extra.RANDOM_BYTES)


@pytest.mark.parametrize("seed", range(5))
def test_a_long_run_breaks_everything(seed):
    """Twenty kills over all parts, half with calls open, five before a commit; broker, zombies, outage."""
    chosen = plan(seed, LONG, duplicates=False)
    kills, deaths = of(chosen, Kill), of(chosen, Die)
    assert len(kills) + len(deaths) >= 20
    assert {fault.stage for fault in kills} == set(PARTS)
    assert sum(fault.open_calls >= 50 for fault in kills) * 2 >= len(kills) + 2 * len(deaths)
    assert len(deaths) >= 5
    assert {fault.how for fault in of(chosen, RestartBroker)} == set(Restart)
    assert len(of(chosen, Zombie)) == 2
    assert [fault.seconds for fault in of(chosen, WarehouseOutage)] == [60]
    assert [fault.at for fault in chosen.faults] == sorted(fault.at for fault in chosen.faults)
    assert chosen.faults[-1].at < LONG.jobs * 0.9


@pytest.mark.parametrize("size", [SHORT, LONG], ids=["short", "long"])
@pytest.mark.parametrize("seed", range(5))
def test_jobs_are_left_for_every_kill_that_needs_open_calls(seed, size):
    """However long a fault takes, the next ones find work: and no fault waits for more ends than there may be jobs."""
    chosen = plan(seed, size, duplicates=False)
    for number, fault in enumerate(chosen.faults):
        assert fault.at < chosen.most(number) <= size.jobs
        if isinstance(fault, Kill) and number:
            assert chosen.most(number) - chosen.most(number - 1) >= fault.open_calls
    assert chosen.most(len(chosen.faults) - 1) == size.jobs


def test_a_truncated_record_is_no_json():
    """However much of it is left, nobody can read it."""
    chosen = plan(1, SHORT, duplicates=False)
    assert all(not chosen.garbage(n, Extra.TRUNCATED).endswith(b"}") for n in range(100))


@pytest.mark.parametrize("told", ["before-commit", "before-commit:0", "after-lunch:1", "before-commit:1:HUP"])
def test_a_fail_point_that_is_none_is_refused(told):
    """A misspelt fail point must not pass for one that was never reached."""
    with pytest.raises(ValueError, match="expected before-commit:<n>"):
        armed(told)


def test_a_fail_point_fails_at_the_time_told_and_not_again(monkeypatch):
    """The signal comes when the point is reached for the nth time; other points don't count."""
    sent = []
    monkeypatch.setattr("os.kill", lambda _, number: sent.append(number.name))
    reach = armed("before-commit:2:STOP")
    for point, expected in (("before-commit", 0), ("elsewhere", 0), ("before-commit", 1), ("before-commit", 1)):
        reach(point)
        assert len(sent) == expected
    assert sent == ["SIGSTOP"]

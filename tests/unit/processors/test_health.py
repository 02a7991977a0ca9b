from datetime import timedelta

import pytest

from processors.policy.health import LAST, LEAST, RECENT, Health


@pytest.fixture
def seen(desk, clock):
    """Give a function that takes in answers of the smallest rung and says how fast it then is."""
    health, ladder = Health(), desk.workflow.settings.ladder

    def run(*times_ms, rung=0, version="v1"):
        for ms in times_ms:
            health.answered("sorting", version, rung, ms, clock.now)
        return health.seen_ms("sorting", "v1", ladder, clock.now)

    return run


def test_too_few_answers_say_nothing(seen):
    """Nothing is held against a rung before enough is known of it."""
    assert seen(*[9000.0] * (LEAST - 1)) == {}
    assert seen(9000.0) == {"small": 9000.0}


def test_it_is_the_time_within_which_95_of_100_came(seen):
    """By the nearest rank: five may be slower."""
    assert seen(*(float(ms) for ms in range(100, 0, -1))) == {"small": 95.0}


def test_only_the_last_answers_count(seen):
    """What was slow an age ago is forgotten as faster ones come."""
    seen(*[5000.0] * LAST)
    assert seen(*[10.0] * 94) == {"small": 5000.0}
    assert seen(10.0) == {"small": 10.0}


def test_old_answers_don_t_count(seen, clock):
    """So a rung that nobody was sent to for being slow is tried again."""
    seen(*[5000.0] * 30)
    clock.now += RECENT
    assert seen() == {"small": 5000.0}
    clock.now += timedelta(microseconds=1)
    assert seen() == {}
    assert seen(*[10.0] * LEAST) == {"small": 10.0}


def test_rungs_and_versions_are_told_apart(seen):
    """A prompt that was changed may be faster; another rung is another model."""
    seen(*[700.0] * LEAST, rung=1)
    seen(*[900.0] * LEAST, version="v2")
    assert seen(*[100.0] * LEAST) == {"small": 100.0, "mid": 700.0}

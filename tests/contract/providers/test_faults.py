import pytest
from provider_faults import MOST_ATTEMPTS, SCENARIOS, Scenario


@pytest.mark.parametrize("name", SCENARIOS)
async def test_jobs_get_past_whatever_providers_do(name):
    """Every job is answered, none is tried past its deadline or too often, and an open breaker lets nothing through."""
    found = await Scenario(*SCENARIOS[name], fault_s=1.5, lasts_s=2.5).run()
    assert found.jobs == found.answered == 150
    assert found.lost == found.past_deadline == found.into_the_open == 0
    assert found.most_attempts <= MOST_ATTEMPTS
    assert found.wasted < found.jobs

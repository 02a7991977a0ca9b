"""A short chaos run: kills, one between produce and commit, a broker restart and a zombie, all accounted for."""

import pytest
from chaos.driver import run
from chaos.plan import SHORT, plan

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


class Silent:
    def progress(self, ends):
        pass

    def breaking(self, fault):
        pass


@pytest.mark.parametrize("together", [(), ("intake", "routing")], ids=["apart", "together"])
def test_every_promise_holds_while_everything_breaks(stack, together):
    """No job is lost or ended twice, no answer is thrown away, whatever is killed, frozen or restarted meanwhile.

    With intake and routing in one process, whose jobs routing takes at once, as with a process for each stage.
    """
    chosen = plan(1 + len(together), SHORT, duplicates=False, together=together)
    outcome = run(stack, chosen, Silent(), f"shortchaos{len(together)}")
    assert outcome.figures["of these between produce and commit"] == len(SHORT.deaths)
    assert [str(finding) for finding in outcome.findings if finding.broken] == []

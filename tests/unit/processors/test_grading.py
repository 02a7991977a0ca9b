import math
from dataclasses import replace
from datetime import timedelta

import pytest

from processors.grading import Grading
from processors.outcome import Climb, Escalate, Pass, Reject
from schemas.control import SwitchKind
from schemas.job import Snapshot
from schemas.stages import Status, Validated


@pytest.fixture
def grade(desk, enveloped, routed, completion, calibration_for, a_job):
    """Give a function that grades an answer of a given raw probability at a rung, under a fitted calibration."""
    variants = ("small", "mid", "large")

    async def run(raw, rung=0, *, calibrated=True, model="tiny-1", context=None, gate=""):
        files = {}
        if gate:
            files["workflow.toml"] = desk.settings_text + f"\n[gate]\n{gate}\n"
        if calibrated:
            files["calibration.json"] = calibration_for(desk.with_files(**files), variants[rung])
        desk.with_files(**files)
        tokens = () if raw is None else (('{"intent":"', -1.0), ("a", math.log(raw)), ('"}', -1.0))
        validated = Validated(
            job=a_job(context=context),
            decision=routed(rung).payload.decision,
            completion=completion(*tokens, text='{"intent":"a"}', model=model),
            output='{"intent":"a"}',
        )
        return await Grading(desk.catalog, desk.read_control, desk.clock)(enveloped(validated, rung=rung))

    return run


async def test_a_confident_answer_is_accepted_with_its_evidence(grade):
    """Raw score, calibrated confidence, thresholds and the map that was used are on record."""
    outcome = await grade(0.9)
    assert isinstance(outcome, Pass)
    gate = outcome.product.gate
    assert (gate.decision, gate.accept_at, gate.climb_below) == ("accept", 0.85, 0.72)
    assert gate.raw_confidence == pytest.approx(0.9)
    assert gate.confidence == pytest.approx(0.9)
    assert gate.calibration == "platt n=40 2026-01-01"
    assert outcome.facts.gate == gate


@pytest.mark.parametrize("raw", [0.8, 0.5])
async def test_a_weaker_answer_climbs_while_there_is_a_rung(grade, raw):
    """Below accept_at the next rung tries."""
    outcome = await grade(raw)
    assert isinstance(outcome, Climb)
    assert outcome.facts.gate.decision == "climb"


async def test_on_the_last_rung_a_person_gets_the_proposal(grade):
    """The best answer so far goes along with how far it is to be trusted."""
    outcome = await grade(0.8, rung=2)
    assert isinstance(outcome, Escalate)
    assert outcome.proposed == '{"intent":"a"}'
    assert outcome.confidence == pytest.approx(0.8)


async def test_the_middle_can_go_to_a_person(grade):
    """A workflow may want eyes on doubtful answers instead of a dearer model."""
    assert isinstance(await grade(0.8, gate='middle = "review"'), Escalate)
    assert isinstance(await grade(0.5, gate='middle = "review"'), Climb)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"raw": 0.99, "calibrated": False}, "no calibration for variant small"),
        ({"raw": None}, "gave no token probabilities"),
        ({"raw": 0.99, "model": "someone-else"}, "no calibration for variant small on someone-else"),
    ],
)
async def test_an_unknown_confidence_fails_closed(grade, fields, said):
    """No calibration, no probabilities, another model than was fitted: never accepted, and null on record."""
    climb = await grade(**fields)
    assert isinstance(climb, Climb)
    assert said in climb.reason
    assert climb.facts.gate.confidence is None
    last = await grade(**fields, rung=2)
    assert isinstance(last, Escalate)
    assert last.confidence is None


async def test_killed_rungs_are_no_way_up(grade, desk):
    """The last rung that stands open is the last."""
    kills = frozenset({(SwitchKind.MODEL, "middle"), (SwitchKind.MODEL, "grand")})
    desk.control = replace(desk.control, kills=kills)
    assert isinstance(await grade(0.8), Escalate)


async def test_an_answer_from_old_facts_is_not_accepted(grade, clock):
    """A snapshot that expired meanwhile ends the job as stale, however sure the model is."""
    snapshot = Snapshot(
        id="s", version="1", taken_at=clock.now, valid_until=clock.now + timedelta(seconds=1), sha256="0" * 64
    )
    assert isinstance(await grade(0.9, context=snapshot), Pass)
    clock.move(1)
    outcome = await grade(0.9, context=snapshot)
    assert isinstance(outcome, Reject)
    assert outcome.status is Status.STALE_CONTEXT
    assert outcome.output is None

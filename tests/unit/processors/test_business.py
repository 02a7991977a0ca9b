import pytest

from processors.outcome import Climb, Escalate, Pass
from processors.validation import Validation
from processors.workflow import examine
from schemas.base import json_text
from schemas.control import Bundle, Control, ControlKind, SwitchKind
from schemas.job import Job
from schemas.stages import Answer, Verdict

SCHEMA = json_text(
    {
        "type": "object",
        "properties": {"amount": {"type": "number"}, "decision": {"enum": ["approve", "refuse", "ask"]}},
        "required": ["amount", "decision"],
        "additionalProperties": False,
    }
)
RULES = """
[[rules]]
name = "no-sense"
when = "output.amount < 0.0"
deny = "an amount can't be negative"

[[rules]]
name = "dear"
when = "output.amount > 500.0"
escalate = "over 500 a person decides"

[[rules]]
name = "late"
when = "input.days > 30"
set = { decision = "refuse" }

[[rules]]
name = "known-customer"
when = "has(segments.since) && segments.since == 'long'"
set = { decision = "approve", amount = 1.5 }
"""


@pytest.fixture
def rule(desk, enveloped, routed, completion):
    """Give a function that validates a proposal under rules; the job's input says how many days ago it was."""

    async def run(amount, decision="approve", *, days=3, rules=RULES, rung=2, control=None, **head):
        desk.with_files(**{"rules.toml": rules, "output.schema.json": SCHEMA, "calibration.json": None})
        text = json_text({"amount": amount, "decision": decision})
        job = Job(workflow="sorting", input=json_text({"text": "x", "days": days}))
        envelope = routed(rung, job)
        answer = Answer(job=job, decision=envelope.payload.decision, completion=completion(text=text))
        return await Validation(desk.catalog, control or desk.read_control)(enveloped(answer, rung=rung, **head))

    return run


async def test_the_first_rule_that_holds_decides_whatever_the_model_proposed(rule):
    """The model approves; the rule refuses, and the finding says which rule and what it set."""
    outcome = await rule(20, days=40)
    assert isinstance(outcome, Pass)
    assert outcome.product.output == '{"amount":20,"decision":"refuse"}'
    last = outcome.facts.findings[-1]
    assert (last.check, last.verdict) == ("rules", Verdict.ALLOW)
    assert last.evidence == 'rule late: decision = "refuse"'


async def test_rules_may_ask_who_it_is_and_set_numbers(rule):
    """Segments are at hand; a number of TOML becomes a number of JSON."""
    outcome = await rule(20, "ask", segments={"since": "long"})
    assert outcome.product.output == '{"amount":1.5,"decision":"approve"}'


async def test_where_no_rule_holds_the_proposal_stands(rule):
    """Nothing is changed, and the rules were asked."""
    outcome = await rule(20, "ask")
    assert outcome.product.output == '{"amount":20,"decision":"ask"}'
    assert outcome.facts.findings[-1].evidence == ""


async def test_a_rule_hands_over_to_a_person_at_once(rule):
    """No higher rung is asked: a better model would not know better."""
    outcome = await rule(501, rung=0)
    assert isinstance(outcome, Escalate)
    assert outcome.reason == "rule dear: over 500 a person decides"
    assert outcome.proposed == '{"amount":501,"decision":"approve"}'
    assert outcome.failed is None


async def test_a_denied_answer_climbs_and_at_the_top_goes_to_a_person(rule):
    """A denial is about the answer: another model may do better."""
    assert isinstance(await rule(-1, rung=0), Climb)
    outcome = await rule(-1)
    assert isinstance(outcome, Escalate)
    assert "check rules: deny: rule no-sense: an amount can't be negative" in outcome.reason


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ('[[rules]]\nname = "r"\nwhen = "output.nothing > 1"\ndeny = "x"', "rule r can't be decided: NOT_FOUND"),
        ('[[rules]]\nname = "r"\nwhen = "output.amount"\ndeny = "x"', "rule r can't be decided"),
        ('[[rules]]\nname = "r"\nwhen = "true"\nset = { decision = "maybe" }', "rule r sets what an answer can't be"),
    ],
    ids=["a field that is not there", "no boolean", "no answer"],
)
async def test_a_rule_that_can_t_be_decided_lets_nothing_through(rule, rules, said):
    """Unknown is not allowed: a person decides, and reads why."""
    outcome = await rule(20, rules=rules)
    assert isinstance(outcome, Escalate)
    assert said in outcome.reason


async def test_killed_rules_are_unknown(rule, desk):
    """A kill switch for the check `rules` lets no answer through unjudged."""
    desk.control = desk.control.after(
        Control(kind=ControlKind.KILL, target=SwitchKind.CHECK, name="rules", who="t", why="t", at=desk.clock()), 8
    )
    outcome = await rule(20)
    assert isinstance(outcome, Escalate)
    assert outcome.doubted == {"rules"}


@pytest.mark.parametrize(
    ("rules", "field", "said"),
    [
        ('[[rules]]\nname = "r"\nwhen = "output.x >"\ndeny = "x"', "rules.0.when", "Syntax error"),
        ('[[rules]]\nname = "r"\nwhen = "other.x"\ndeny = "x"', "rules.0.when", "undeclared reference to 'other"),
        (
            '[[rules]]\nname = "r"\nwhen = "true"\nset = { x = 1 }',
            "rules.0.set",
            "'x' is no field of output.schema.json",
        ),
        ('[[rules]]\nname = "r"\nwhen = "true"', "rules.0", "exactly one of set, deny, escalate"),
        ('[[rules]]\nname = "r"\nwhen = "true"\ndeny = "a"\nescalate = "b"', "rules.0", "exactly one of"),
    ],
)
def test_a_broken_rule_is_named_before_it_runs(desk, files, rules, field, said):
    """File, line, field, what was found and the mend."""
    kept = {**files, "rules.toml": rules, "output.schema.json": SCHEMA}
    kept.pop("calibration.json", None)
    workflow, problems = examine(Bundle(workflow="sorting", files=kept))
    assert workflow is None
    (problem,) = problems
    assert (problem.file, problem.field) == ("rules.toml", field)
    assert problem.line > 0
    assert said in problem.found + problem.mend

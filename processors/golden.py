"""Golden routing decisions: jobs and the variant that the policy must choose for them, kept in the bundle."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any

import jiter
from pydantic import Field, ValidationError

from processors.bundle import POLICY_CASES
from processors.control import ControlState
from processors.models import Models
from processors.policy.ladder import data_class
from processors.policy.request import LANGUAGE, RouteRequest
from processors.policy.route import NOTHING, NoRung, route
from processors.problems import Problem
from processors.toml_text import Settings
from processors.workflow import Workflow
from schemas.base import Time, json_text
from schemas.control import SwitchKind
from schemas.job import DataClass, Risk, TaskType


class GoldenCase(Settings):
    """One line: what is known of a job, what is killed, and the variant that must be chosen, or `none`.

    `seen_ms` is how fast the variants' answers came lately, as routing would have seen it.
    """

    id: str
    expect: str
    task_type: TaskType | None = None
    risk: Risk | None = None
    tenant: str = "default"
    size: Annotated[int, Field(ge=0)] = 100
    rung: Annotated[int, Field(ge=0)] = 0
    max_latency_ms: int | None = None
    max_cost_usd: Decimal | None = None
    segments: dict[str, str] = Field(default_factory=dict)
    data_class: DataClass | None = None
    language: str | None = None
    seen_ms: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    created_at: Time | None = None
    input: Any = None
    killed: tuple[Annotated[str, Field(pattern=r"^(model|provider)/.+$")], ...] = ()
    because: str = ""


def golden_problems(text: str, workflow: Workflow, models: Models) -> Iterator[Problem]:
    """What is wrong with a file of golden cases, or with the policy that does not do as they say."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            case = GoldenCase.model_validate(jiter.from_json(line.encode(), catch_duplicate_keys=True))
        except (ValueError, ValidationError) as error:
            said = " ".join(str(error).split())[:200]
            yield Problem(POLICY_CASES, number, "", f"this is no case: {said}", 'write {"id": …, "expect": VARIANT, …}')
            continue
        if (found := _found(case, workflow, models)) is not None:
            yield Problem(POLICY_CASES, number, case.id, found, "mend the policy in workflow.toml, or the case")


def _found(case: GoldenCase, workflow: Workflow, models: Models) -> str | None:
    """What was chosen instead; None if it is as expected."""
    kills = frozenset(_switch(one) for one in case.killed)
    choice = route(_request(case, workflow), workflow, models, ControlState(kills=kills))
    chosen = NOTHING if isinstance(choice, NoRung) else choice.decision.variant
    if chosen == case.expect:
        return None
    why = (
        choice.reason if isinstance(choice, NoRung) else "; ".join((*choice.decision.reasons, *choice.decision.skipped))
    )
    return f"expected {case.expect}, chosen is {chosen}: {why}"


def _switch(named: str) -> tuple[SwitchKind, str]:
    kind, _, name = named.partition("/")
    return SwitchKind(kind), name


def _request(case: GoldenCase, workflow: Workflow) -> RouteRequest:
    settings = workflow.settings
    given: dict[str, Any] = {"created_at": case.created_at} if case.created_at is not None else {}
    return RouteRequest(
        task=case.task_type or settings.task,
        risk=case.risk or settings.risk,
        size=case.size,
        rung=case.rung,
        max_latency_ms=case.max_latency_ms or settings.slo.latency_ms,
        max_cost_usd=case.max_cost_usd,
        tenant=case.tenant,
        segments=case.segments if case.language is None else {**case.segments, LANGUAGE: case.language},
        data=data_class(case.data_class, settings),
        seen_ms=case.seen_ms,
        gains=_gains(case, workflow),
        **given,
    )


def _gains(case: GoldenCase, workflow: Workflow) -> tuple[float, ...]:
    """What the prior promises; a case without an input is routed as if there were no prior."""
    if workflow.prior is None or case.input is None:
        return ()
    return workflow.prior.gains(json_text(case.input))

"""Evals: a workflow judged by its cases, through the real processors, in figures by which two versions compare."""

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

from penstock.errors import PenstockError
from penstock.trial import ACCEPTED, ESCALATED, Trial, Trials
from processors.cases import FORM, Case, read_case

Z_95: Final = 1.959964


class CasesUnusable(PenstockError):  # noqa: N818 -- names what is the case
    """A file of cases that can't be used; the text names the line."""


def read_cases(path: Path) -> tuple[Case, ...]:
    """The cases of a file, one JSON object a line: `id`, `input`, and `expected` or `must` (a JSON Schema) or both.

    Raises:
        CasesUnusable: the file or a line can't be used.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CasesUnusable(f"{path}: {error}; name a file with --cases") from error
    cases = tuple(_case(path, number, line) for number, line in enumerate(lines, 1) if line.strip())
    if not cases:
        raise CasesUnusable(f"{path} has no cases; write one JSON object a line")
    return cases


def _case(path: Path, number: int, line: str) -> Case:
    try:
        return read_case(line)
    except ValueError as error:
        raise CasesUnusable(f"{path.name}:{number}: this is no case ({error}); write {FORM}") from error


@dataclass(frozen=True, slots=True)
class Judged:
    """A case and how it went; `right` is None where nothing was accepted."""

    case: Case
    trial: Trial

    @property
    def right(self) -> bool | None:
        """Whether the answer is what it must be."""
        return self.case.met(self.trial.output) if self.trial.status == ACCEPTED and self.trial.output else None

    @property
    def answered_right(self) -> bool | None:
        """Whether what was answered, accepted or proposed to a person, is what it must be; None without an answer."""
        answer = self.trial.output or self.trial.proposed
        return None if answer is None else self.case.met(answer)


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, and where the true share lies with 95 % confidence."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """The share; None of nothing."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's score interval (E. B. Wilson, JASA 22, 1927)."""
        if not self.of:
            return None
        p, n, zz = self.count / self.of, self.of, Z_95 * Z_95
        centre, width = p + zz / (2 * n), Z_95 * math.sqrt(p * (1 - p) / n + zz / (4 * n * n))
        return max(0.0, (centre - width) / (1 + zz / n)), min(1.0, (centre + width) / (1 + zz / n))


@dataclass(frozen=True, slots=True)
class Figures:
    """What some cases came to. Costs are US dollars, None where one is unknown; times are milliseconds."""

    cases: int
    accepted: Share
    right: Share
    """Of those accepted."""
    answers_right: Share
    """Of all that were answered, whether it was accepted or proposed to a person: what the models know, gate apart."""
    escalated: Share
    cost_usd: Decimal | None
    p50_ms: float | None
    p95_ms: float | None
    first_token_p50_ms: float | None
    """From sending a call to the first piece of its answer, over all calls that were read as streams."""
    first_token_p95_ms: float | None

    @property
    def cost_per_accepted(self) -> Decimal | None:
        """What an accepted answer costs, with what the others cost laid upon it."""
        return self.cost_usd / self.accepted.count if self.cost_usd is not None and self.accepted.count else None


def figures(judged: Sequence[Judged]) -> Figures:
    """The figures of some cases."""
    accepted = [one for one in judged if one.trial.status == ACCEPTED]
    costs = [one.trial.cost_usd for one in judged]
    known = [cost for cost in costs if cost is not None]
    answers = [one.answered_right for one in judged if one.answered_right is not None]
    p50, p95 = _p50_p95([one.trial.ms for one in judged])
    calls = [attempt.first_token_ms for one in judged for attempt in one.trial.attempts]
    first_p50, first_p95 = _p50_p95([first_ms for first_ms in calls if first_ms is not None])
    return Figures(
        cases=len(judged),
        accepted=Share(len(accepted), len(judged)),
        right=Share(sum(one.right is True for one in accepted), len(accepted)),
        answers_right=Share(sum(answers), len(answers)),
        escalated=Share(sum(one.trial.status == ESCALATED for one in judged), len(judged)),
        cost_usd=sum(known, Decimal(0)) if len(known) == len(costs) else None,
        p50_ms=p50,
        p95_ms=p95,
        first_token_p50_ms=first_p50,
        first_token_p95_ms=first_p95,
    )


def _p50_p95(times: Sequence[float]) -> tuple[float | None, float | None]:
    if not times:
        return None, None
    cuts = quantiles(times, n=20) if len(times) > 1 else [times[0]] * 19
    return cuts[9], cuts[18]


@dataclass(slots=True)
class Evaluation:
    """All cases that were run; `skipped` were not, because the money was spent."""

    judged: list[Judged] = field(default_factory=list)
    skipped: int = 0

    @property
    def spent_usd(self) -> Decimal:
        """What is known to be spent."""
        return sum((one.trial.head.spent.cost_usd for one in self.judged), Decimal(0))

    def by_rung(self) -> dict[str, Figures]:
        """The figures of the cases that ended at each rung."""
        return _grouped(self.judged, lambda one: [str(one.trial.head.rung)])

    def by_segment(self) -> dict[str, Figures]:
        """The figures of each segment: what intake found, and what the cases bring."""
        return _grouped(self.judged, lambda one: [f"{name}={value}" for name, value in _segments(one).items()])

    def wrong(self) -> list[Judged]:
        """Accepted and not right: what hurts."""
        return [one for one in self.judged if one.right is False]


def _segments(one: Judged) -> Mapping[str, str]:
    return one.trial.head.segments


def _grouped(judged: Iterable[Judged], names: Callable[[Judged], Iterable[str]]) -> dict[str, Figures]:
    groups: dict[str, list[Judged]] = defaultdict(list)
    for one in judged:
        for name in names(one):
            groups[name].append(one)
    return {name: figures(groups[name]) for name in sorted(groups)}


async def evaluate(
    trials: Trials,
    workflow: str,
    cases: Sequence[Case],
    *,
    at_once: int,
    ceiling_usd: Decimal | None,
    moved: Callable[[Evaluation], None],
) -> Evaluation:
    """Run the cases, so many at once, until all are done or the money is spent.

    A call whose price is unknown can't be held under a ceiling: then nothing more is begun.
    """
    done, slots = Evaluation(), asyncio.Semaphore(at_once)

    async def one(case: Case) -> None:
        async with slots:
            if ceiling_usd is not None and (done.spent_usd >= ceiling_usd or _unpriced(done)):
                done.skipped += 1
            else:
                done.judged.append(Judged(case, await trials.run(_job(workflow, case))))
            moved(done)

    await asyncio.gather(*map(one, cases))
    order = {case.id: place for place, case in enumerate(cases)}
    done.judged.sort(key=lambda judged: order[judged.case.id])
    return done


def _job(workflow: str, case: Case) -> dict[str, Any]:
    context = None if case.context is None else case.context.model_dump(mode="json")
    named = {"workflow": workflow, "job_id": case.id, "input": case.input, "segments": dict(case.segments)}
    return named | ({} if context is None else {"context": context})


def _unpriced(done: Evaluation) -> bool:
    return any(one.trial.head.spent.unpriced for one in done.judged)
